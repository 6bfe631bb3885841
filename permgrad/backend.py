"""Whatever differs between Keras's backends: gradients, compiled functions, the accelerator.

Everything else in permgrad uses `keras` and `keras.ops`. Importing this module imports Keras and its
backend, which takes seconds: only modules that build or run networks do so.
"""

from __future__ import annotations

import functools
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import psutil

from permgrad.errors import PermGradError

THREADS, N_THREADS = "PERMGRAD_THREADS", 2
"""Environment variable, and default: among how many threads TensorFlow parts its sums. They are rounded otherwise in
other parts, so by TensorFlow's own default, a thread a core, the same seed gives other results on another machine."""


@contextmanager
def quiet_start() -> Iterator[None]:
    """Keep TensorFlow's and a backend's start-up messages off the terminal; they are shown if the import fails.

    They come from C++ before any Python setting counts, so file descriptor 2 itself is redirected. On another
    backend Keras imports TensorFlow all the same, where it saves and loads models.
    """
    if "tensorflow" in sys.modules:
        yield
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # messages after the start: errors only
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as captured:
        os.dup2(captured.fileno(), 2)
        try:
            yield
        except BaseException:
            captured.seek(0)
            os.write(terminal, captured.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)


def _use_threads(n: str) -> None:
    """Have TensorFlow part its sums among so many threads, unless the process has begun to compute."""
    if not n.isdecimal() or not 1 <= int(n) <= 1024:
        raise PermGradError(f"{THREADS} must be a number of threads, 1 to 1024, got {n!r}")
    with suppress(RuntimeError):
        if not tf.config.threading.get_intra_op_parallelism_threads():
            tf.config.threading.set_intra_op_parallelism_threads(int(n))
    _let_threads_sleep()


def _let_threads_sleep() -> None:
    """Have TensorFlow's threads sleep when there is nothing to do; on one core, those that spin double the time."""
    from tensorflow.python.eager import context  # of the settings of a session, `tf.config` leaves this one out

    config = tf.compat.v1.ConfigProto()
    config.experimental.disable_thread_spinning = True
    context.context()._config = config


with quiet_start():
    import keras

    NAME: str = keras.backend.backend()
    if NAME == "tensorflow":
        import tensorflow as tf

        # Each explainer compiles functions of its own; TensorFlow takes that for a mistake and warns.
        tf.get_logger().setLevel("ERROR")
        _use_threads(os.environ.get(THREADS, str(N_THREADS)))
        tf.config.list_physical_devices()  # looks for a GPU now, while its messages are captured
    elif NAME == "jax":
        import jax
    else:
        raise ImportError(f"permgrad runs on the Keras backends 'tensorflow' and 'jax', not {NAME!r}")


def has_accelerator() -> bool:
    """Tell whether the backend sees a GPU or TPU."""
    if NAME == "tensorflow":
        return bool(tf.config.list_physical_devices("GPU") or tf.config.list_physical_devices("TPU"))
    return jax.default_backend() != "cpu"


Devices = int | Sequence[int | str] | None
"""How many devices, or which, by number or name."""


def chosen_devices(devices: Devices) -> list[str]:
    """Return the names of devices to train on, of the accelerators, or of the processors where there are none.

    Raises
    ------
    PermGradError
        If there are not so many, or one is not there.
    """
    if devices is None or devices == 1:
        return []
    if NAME == "jax":
        known = [f"{device.platform}:{device.id}" for device in jax.devices()]
    else:
        found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        known = [device.name.removeprefix("/device:").lower() for device in found]
    asked = range(devices) if isinstance(devices, int) else devices
    names = [known[each] if isinstance(each, int) and 0 <= each < len(known) else str(each).lower() for each in asked]
    absent = [name for name in names if name not in known]
    if not names or absent or len(set(names)) < len(names):
        raise PermGradError(f"devices must be how many, or which, of {', '.join(known)}, got {devices!r}")
    return names if len(names) > 1 else []


@contextmanager
def spread_over(names: Sequence[str]) -> Iterator[None]:
    """Have networks that are made and trained inside the block split each batch among these devices."""
    if NAME == "jax":
        with quiet_start():
            import tensorflow  # noqa: F401 - Keras asks whether rows are a data set of TensorFlow's

            distribution = keras.distribution.DataParallel(devices=list(names))
        with distribution.scope():
            yield
    else:
        with tf.distribute.MirroredStrategy([f"/{name}" for name in names]).scope():
            yield


def compiled(function: Callable[..., Any], *models: Any, fuse: bool = False) -> Callable[..., Any]:
    """Compile a function of tensors; it is traced once per shape of its arguments, `fuse` as `fused` does it.

    `models` are the Keras models and layers whose weights it uses: JAX would else copy the weights into
    the compiled program, as constants.
    """
    if NAME == "tensorflow":
        return tf.function(function, autograph=False, jit_compile=True if fuse else None)
    variables = list({id(v): v for model in models for v in model.variables}.values())

    @jax.jit
    def pure(values: list[Any], *arguments: Any) -> Any:
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            return function(*arguments)

    return lambda *arguments: pure([variable.value for variable in variables], *arguments)


def fused(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile element-wise steps inside a compiled function to one pass over memory.

    TensorFlow's kernels take one pass each; XLA, asked for here, takes one for all. Not for products of
    large matrices, which TensorFlow's own kernels do faster on a CPU. JAX compiles everything so.
    """
    return tf.function(function, autograph=False, jit_compile=True) if NAME == "tensorflow" else function


def pool_maximum(x: Any, size: Sequence[int], strides: Sequence[int], *, fuse: bool) -> Any:
    """Return the maxima of windows that lie within maps, (batch, height, width, channels).

    Inside of what is fused they are maxima of shifted maps, which a compiler joins with the steps before; TensorFlow's
    own kernels take a hundred times as long for those as for a pooling.
    """
    if not fuse and NAME == "tensorflow":
        return keras.ops.max_pool(x, tuple(size), tuple(strides), "valid", "channels_last")
    (height, width), (down, across) = x.shape[1:3], strides
    shifted = [
        x[:, i : height - size[0] + i + 1 : down, j : width - size[1] + j + 1 : across]
        for i in range(size[0])
        for j in range(size[1])
    ]
    return functools.reduce(keras.ops.maximum, shifted)


def free_memory() -> int:
    """Return the bytes that are free where networks run, as far as the backend tells, else in main memory."""
    if NAME == "jax" and has_accelerator():
        used = jax.local_devices()[0].memory_stats() or {}
        if "bytes_limit" in used:
            return int(used["bytes_limit"] - used["bytes_in_use"])
    return int(psutil.virtual_memory().available)


def vjp(function: Callable[[Any], Any], x: Any) -> tuple[Any, Callable[[Any], Any]]:
    """Return ``function(x)`` and the map from a cotangent of that value to its gradient at `x`.

    The map may be called many times: one forward pass serves the gradients of all classes.
    """
    if NAME == "tensorflow":
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            value = function(x)
        return value, lambda cotangent: tape.gradient(value, x, output_gradients=cotangent)
    value, pullback = jax.vjp(function, x)
    return value, lambda cotangent: pullback(cotangent)[0]


@contextmanager
def released_graphs() -> Iterator[None]:
    """Let go of the graphs that training builds inside the block, so that memory does not grow from model to model.

    Keras's optimizer sums gradients over replicas by a TensorFlow function with a custom gradient, and TensorFlow
    keeps each such gradient, and by it the whole graph of the training step, in a registry for good
    (tensorflow issue 80895; `keras.utils.clear_session` does not help). It also keeps the Python functions that read
    batches, and by them the rows, in a list of the default graph. And each variable that is made leaves a kernel of
    its own, 36 kB, in a cache that only grows; what is cleared of it and used again is made again.
    """
    if NAME != "tensorflow":
        yield
        return
    from tensorflow.python.eager.context import context
    from tensorflow.python.framework.ops import gradient_registry

    kept = set(gradient_registry.list())
    try:
        with _released_readers():
            yield
    finally:
        for name in set(gradient_registry.list()) - kept:
            if name.startswith("CustomGradient-"):
                gradient_registry._registry.pop(name, None)
        context().clear_kernel_cache()


_training = threading.Lock()
_trainings = _others = 0


@contextmanager
def _released_readers() -> Iterator[None]:
    """Let go of the functions that read batches when no thread trains any more: TensorFlow holds them weakly, too."""
    global _trainings, _others
    readers = _readers()
    with _training:
        _others = _others if _trainings else len(readers)
        _trainings += 1
    try:
        yield
    finally:
        with _training:
            _trainings -= 1
            if not _trainings:
                del readers[_others:]


def _readers() -> list[Any]:
    """Return TensorFlow's own list of the Python functions that its default graph calls."""
    graph: Any = tf.compat.v1.get_default_graph()
    if not hasattr(graph, "_py_funcs_used_in_graph"):
        graph._py_funcs_used_in_graph = []
    return graph._py_funcs_used_in_graph


def batches_in_graph(X: Any, others: Sequence[Any], order: Callable[[], Any], batch_size: int, n_batches: int) -> Any:
    """Return batches of rows that are put together without Python, or None where the backend does that itself.

    Parameters
    ----------
    X : ndarray of shape (n_rows, ...)
    others : sequence of ndarray
        Target, and weights.
    order : callable
        Returns the order of the rows, an ndarray of int; asked for whenever the batches are begun anew.
    batch_size, n_batches : int
        Rows of a batch, batches of an epoch.
    """
    if NAME != "tensorflow":
        return None
    arrays = [tf.constant(array) for array in (X, *others)]

    def now() -> Iterator[Any]:
        yield order()

    orders = tf.data.Dataset.from_generator(now, output_signature=tf.TensorSpec((len(X),), tf.int64))
    rows = orders.flat_map(lambda at: tf.data.Dataset.from_tensor_slices(at).batch(batch_size).take(n_batches))
    batches = rows.map(lambda at: tuple(tf.gather(array, at) for array in arrays))
    return batches.prefetch(2).apply(tf.data.experimental.assert_cardinality(n_batches))
