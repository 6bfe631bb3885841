"""A training step that is split among devices is the step that one device takes."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import permgrad as pg
from permgrad.backend import chosen_devices
from permgrad.training.batches import Batches
from permgrad.training.fit import _in_parts

TWO_DEVICES = """
import numpy as np, permgrad as pg
from permgrad import backend
if backend.NAME == "tensorflow":
    config = backend.tf.config
    (cpu,) = config.list_physical_devices("CPU")
    config.set_logical_device_configuration(cpu, [config.LogicalDeviceConfiguration()] * 2)
rng = np.random.default_rng(0)
X = rng.normal(size=(100, 4))
y = X @ [1.0, 2.0, 0.0, 0.0] + 0.1 * rng.normal(size=100)
given = dict(preset="published", image_size=8, dense_units=(8,), n_conv_layers=1, base_filters=2, head_units=(8,))
given |= dict(dropout=0.0, batch_norm=False, epochs=3, batch_size=20)
seen = []
class Watch(backend.keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        seen.append(float(np.mean((several.predict(X[60:]) - y[60:]) ** 2)))
one, several = (pg.HybridRegressor(**given, devices=devices) for devices in (None, 2))
one.fit(X[:60], y[:60], validation_data=(X[60:], y[60:]))
several.fit(X[:60], y[:60], validation_data=(X[60:], y[60:]), callbacks=[Watch()])
weights = [model.network_.get_weights() for model in (one, several)]
for a, b in zip(*weights):
    np.testing.assert_allclose(a, b, atol=1e-4)
np.testing.assert_allclose(one.history_["val_loss"], several.history_["val_loss"], rtol=1e-4)
np.testing.assert_allclose(seen, np.array(several.history_["val_loss"]) * np.var(y[:60]), rtol=1e-3)
assert len(set(seen)) == 3
names = backend.chosen_devices(2)
assert names == backend.chosen_devices([0, 1]) == backend.chosen_devices(["cpu:0", "CPU:1"]) == ["cpu:0", "cpu:1"]
print("equal")
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_two_virtual_devices_train_the_network_of_one(backend):
    given = {"KERAS_BACKEND": backend, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    done = subprocess.run(
        [sys.executable, "-c", TWO_DEVICES], capture_output=True, text=True, env={**os.environ, **given}
    )
    assert done.stdout.strip() == "equal", done.stderr
    assert done.stderr == ""


def test_one_device_is_none_and_those_that_are_not_there_are_refused():
    assert chosen_devices(None) == chosen_devices(1) == chosen_devices([0]) == []
    for devices in (99, [0, 0], ["tpu:7"], []):
        with pytest.raises(pg.PermGradError, match="devices must be how many, or which, of .*:0"):
            chosen_devices(devices)


def test_batches_are_of_a_multiple_of_the_devices_and_every_row_has_its_turn(rng):
    X = np.arange(47, dtype=np.float32)[:, None]
    batches = Batches(X, X[:, 0], batch_size=12, random_state=0, parts=3)
    seen = set()
    for _ in range(20):
        parts = [batches[i][0][:, 0] for i in range(len(batches))]
        assert [len(part) for part in parts] == [12, 12, 12, 9]
        assert len(set(np.concatenate(parts))) == 45
        seen |= set(np.concatenate(parts))
        batches.on_epoch_end()
    assert len(seen) == 47
    with pytest.raises(pg.PermGradError, match="2 rows cannot be split between 3 devices"):
        Batches(X[:2], X[:2, 0], batch_size=2, random_state=0, parts=3)
    assert [len(part) for part in _in_parts((X, X[:, 0]), 3)] == [45, 45]
    assert _in_parts((X[:2], X[:2, 0]), 3) is None
