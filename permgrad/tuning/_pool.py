"""Several worker processes on this machine, watched by the one that began them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import cloudpickle

from permgrad.errors import PermGradError

MAX_RESTARTS = 10
"""Workers replaced before the pool gives up: something kills them all."""
POLL_SECONDS = 0.5
STOP_SECONDS = 60
ERROR_STATUS = 2
ERROR_MARK = "\0error: "


def run_pool(job: Any, n_workers: int, say: Callable[[str], None], on_poll: Callable[[], None]) -> None:
    """Run `job` in `n_workers` processes until each has ended; one that is killed is replaced.

    Parameters
    ----------
    job : Job
        Goes to each process through a pipe, by cloudpickle: its space may be any function, one of a notebook
        too. The pipe stays open for as long as this process lives; a worker that finds it closed stops.
    n_workers : int
    say : callable
        Takes one line about what went wrong.
    on_poll : callable
        Called twice a second.

    Raises
    ------
    PermGradError
        If a worker ends with an error (its message), or too many were killed.
    KeyboardInterrupt
        Passed on when all workers have stopped; their trials are queued again.
    """
    payload = cloudpickle.dumps((sys.path, cloudpickle.dumps(job)))  # the same modules are importable there
    workers = [_Process(payload, n_workers, say) for _ in range(n_workers)]
    restarts = 0
    try:
        while any(worker.status != 0 for worker in workers):
            on_poll()
            time.sleep(POLL_SECONDS)
            for i, worker in enumerate(workers):
                if not worker.status:
                    continue
                if worker.status > 0:
                    raise PermGradError(f"a worker stopped: {worker.reason()}")
                restarts += 1
                if restarts > MAX_RESTARTS:
                    raise PermGradError(
                        f"{restarts} workers were killed (signal {-worker.status}); is there too little memory?"
                    )
                say(f"a worker was killed (signal {-worker.status}); another takes its place")
                worker.stop()
                workers[i] = _Process(payload, n_workers, say)
    finally:
        for worker in workers:
            worker.interrupt()
        for worker in workers:
            worker.stop()
    on_poll()


class _Process:
    """A worker process; what it prints is passed on line by line."""

    def __init__(self, payload: bytes, n_workers: int, say: Callable[[str], None]) -> None:
        threads = str(max(1, (os.cpu_count() or 1) // n_workers))
        shares = {"OMP_NUM_THREADS": threads, "PERMGRAD_THREADS": threads, "TF_FORCE_GPU_ALLOW_GROWTH": "true"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "permgrad.tuning._pool"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**shares, **os.environ},
            start_new_session=True,  # Ctrl-C reaches the process that watches, which interrupts the workers itself
        )
        self._reason = "it gave no reason"
        self._listener = threading.Thread(target=self._listen, args=(say,), daemon=True)
        self._listener.start()
        threading.Thread(target=self._send, args=(payload,), daemon=True).start()

    @property
    def status(self) -> int | None:
        """Exit status; negative for the signal that killed it; None while it runs."""
        return self._process.poll()

    def reason(self) -> str:
        """Return why it ended with an error."""
        self._listener.join(timeout=5)
        return self._reason

    def interrupt(self) -> None:
        if self.status is None:
            self._process.send_signal(signal.SIGINT)

    def stop(self) -> None:
        try:
            self._process.wait(timeout=STOP_SECONDS / 2)
        except subprocess.TimeoutExpired:
            self.interrupt()  # Python loses an interrupt that comes inside a callback of its garbage collector
        try:
            self._process.wait(timeout=STOP_SECONDS / 2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.join(timeout=5)
        for pipe in (self._process.stdin, self._process.stdout):
            pipe.close()  # type: ignore[union-attr]

    def _send(self, payload: bytes) -> None:
        pipe = self._process.stdin
        try:
            pipe.write(len(payload).to_bytes(8, "big") + payload)  # type: ignore[union-attr]
            pipe.flush()  # type: ignore[union-attr]
        except BrokenPipeError:
            return  # it died already, as its exit status will tell

    def _listen(self, say: Callable[[str], None]) -> None:
        for line in self._process.stdout or ():
            text = line.decode().rstrip()
            if text.startswith(ERROR_MARK):
                self._reason = text.removeprefix(ERROR_MARK)
            else:
                say(text)


def main() -> None:
    """Be a worker: take the job from standard input, run it, print what goes wrong."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # it may have been ignored where this was begun
    pipe = sys.stdin.buffer
    try:
        sys.path[:], payload = cloudpickle.loads(pipe.read(int.from_bytes(pipe.read(8), "big")))
        job = cloudpickle.loads(payload)
        threading.Thread(target=_stop_when_orphaned, args=(pipe.fileno(),), daemon=True).start()
        import optuna

        from permgrad.tuning._worker import Worker

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.showwarning = _say_warning
        Worker(job, say=lambda line: print(line, flush=True)).run()
    except KeyboardInterrupt:
        sys.exit(0)
    except Exception as error:
        reason = str(error) if isinstance(error, PermGradError) else f"{type(error).__name__}: {error}"
        print(ERROR_MARK + reason.replace("\n", " "), flush=True)
        if not isinstance(error, PermGradError):
            traceback.print_exc()
        sys.exit(ERROR_STATUS)


def _say_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    """Pass on what permgrad says of the table; what libraries say about themselves is not the user's concern."""
    if category is UserWarning:
        print(message, flush=True)


def _stop_when_orphaned(pipe: int) -> None:
    # Not sys.stdin.read: a thread that holds its lock when Python ends aborts the process.
    os.read(pipe, 1)  # returns when the other end is closed, by whatever end of that process
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(STOP_SECONDS / 2)
    os._exit(ERROR_STATUS)


if __name__ == "__main__":
    main()
