"""Training patches: rates by hand, what is frozen stays, weights in the loss, seeds."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import permgrad as pg
from permgrad.backend import keras
from permgrad.patches.predicting import predict_logits, probability
from permgrad.patches.training import rate_at, unfreeze


def small(random_state=0, **given):
    given = {
        "weights": "random",
        "patch_shape": (48, 48, 3),
        "image_size": None,
        "dropout": 0,
        "random_state": random_state,
        **given,
    }
    return pg.backbone_classifier("SmallCNN", **given)


def config(**given):
    return pg.PatchTraining(**{"epochs": 1, "batch_size": 16, "learning_rate": 1e-3, **given})


def test_rates_by_hand():
    constant, cosine, one_cycle = (config(schedule=name) for name in ("constant", "cosine", "one_cycle"))
    assert float(rate_at(7, 10, constant)) == pytest.approx(1e-3)
    assert [float(rate_at(step, 4, cosine)) for step in (0, 2)] == pytest.approx([1e-3, 0.5e-3])
    assert float(rate_at(1, 4, cosine)) == pytest.approx(1e-3 * (1 + np.sqrt(0.5)) / 2)
    rates = [float(rate_at(step, 16, one_cycle)) for step in range(16)]
    assert rates[0] == pytest.approx(1e-3 / 25)
    assert rates[2] == pytest.approx((1e-3 + 1e-3 / 25) / 2)
    assert rates[4] == pytest.approx(1e-3)
    assert rates[10] == pytest.approx(0.5e-3)
    assert np.argmax(rates) == 4
    assert rates[15] < 0.03 * 1e-3


@pytest.mark.slow
def test_each_step_has_its_rate(patches, monkeypatch):
    """Nothing is learned while it is 0: in the first epoch, and one step into the second."""
    after = 3 + 1  # batches of an epoch, and one
    monkeypatch.setattr(
        "permgrad.patches.training.rate_at",
        lambda step, n, given: keras.ops.where(keras.ops.cast(step, "float32") < after, 0.0, 1e-3),
    )
    model, kernels = small(), []
    kernel = model.get_layer("logit").get_weights()[0]
    watch = lambda row: kernels.append(model.get_layer("logit").get_weights()[0])  # noqa: E731
    pg.fit_patches(model, patches, patches, config(epochs=2), on_epoch=watch)
    np.testing.assert_array_equal(kernels[0], kernel)
    assert np.abs(kernels[1] - kernel).max() == pytest.approx(
        2e-3, rel=0.2
    )  # two of three steps, each of about its rate


@pytest.mark.slow
def test_decay_is_of_kernels_alone(patches):
    """One step, rate 1e-3, decay 100: kernels lose a tenth, biases and BatchNorm's scales move by 1e-3."""
    model = small()
    logit, norm = model.get_layer("logit"), model.get_layer("backbone").get_layer("norm_0")
    logit.bias.assign([1.0])
    kernel = logit.get_weights()[0]
    pg.fit_patches(model, patches, patches, config(batch_size=40, weight_decay=100))
    np.testing.assert_allclose(logit.get_weights()[0], 0.9 * kernel, atol=1.1e-3)
    assert logit.get_weights()[1] == pytest.approx([1.0], abs=1.1e-3)
    np.testing.assert_allclose(norm.get_weights()[0], 1, atol=1.1e-3)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_network_and_it_is_saved(patches, tmp_path):
    model, again = small(), small()
    history, once_more = (pg.fit_patches(one, patches, patches, config(schedule="one_cycle")) for one in (model, again))
    assert history.columns.tolist() == [
        *("epoch", "loss", "val_loss", "val_auc", "learning_rate", "seconds", "images_per_second")
    ]
    pd.testing.assert_frame_equal(history.iloc[:, :5], once_more.iloc[:, :5], rtol=1e-3)
    model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(predict_logits(loaded, patches), predict_logits(model, patches), atol=1e-5)
    assert loaded.optimizer._learning_rate.config == config(schedule="one_cycle")


@pytest.mark.slow
def test_a_file_that_is_lost_while_training(patches, tmp_path):
    gone = pg.Patches(patches.ids, (*patches.files[:-1], tmp_path / "gone.tif"), patches.shape, patches.y)
    with pytest.raises(pg.PermGradError, match=r"gone\.tif: No such file"):
        pg.fit_patches(small(), gone, patches, config())
    with pytest.raises(pg.PermGradError, match=r"gone\.tif: No such file"):
        predict_logits(small(), gone)


@pytest.mark.slow
def test_half_precision(patches):
    """With a scaled loss, as on an accelerator."""
    model = small(precision="mixed_float16")
    history = pg.fit_patches(model, patches, patches, config(epochs=2, schedule="one_cycle"))
    assert type(model.optimizer).__name__ == "LossScaleOptimizer"
    assert np.isfinite(history["loss"]).all()
    assert model.get_layer("backbone").get_layer("conv_0").compute_dtype == "float16"


def test_shares_of_the_network():
    model = small()
    names = [layer.name for layer in model.get_layer("backbone").layers if layer.weights]
    assert names == ["conv_0", "norm_0", "conv_1", "norm_1", "conv_2", "norm_2"]

    def trained(share):
        unfreeze(model, share)
        return {v.path.split("/")[-2] for v in model.trainable_variables}

    assert trained(0) == {"logit"}
    assert trained(0.5) == {"norm_1", "conv_2", "norm_2", "logit"}
    assert trained(1) == {*names, "logit"}
    gradual = config(unfreezing="gradual", epochs=3)
    assert [gradual.trained_share(epoch) for epoch in range(3)] == [0, 0.5, 1]
    assert config(unfreezing="frozen").trained_share(0) == 0


@pytest.mark.slow
def test_what_is_frozen_stays(patches):
    """First all of the backbone, with BatchNorm's means; then its first half; at last nothing."""
    model, after = small(), []
    backbone = model.get_layer("backbone")
    before = backbone.get_weights()
    few = patches.take(range(8))
    given = config(unfreezing="gradual", epochs=3, batch_size=8)
    pg.fit_patches(model, few, few, given, on_epoch=lambda row: after.append(backbone.get_weights()))
    first = len(backbone.get_layer("conv_0").get_weights())
    same = [[np.array_equal(a, b) for a, b in zip(before, now, strict=True)] for now in after]
    assert all(same[0])
    assert all(same[1][:first])
    assert not any(same[1][-2:])
    assert not same[2][0]


@pytest.mark.slow
def test_the_loss_of_a_step(patches):
    """Binary cross-entropy on the logit, positives weighed, mean over patches: computed by hand."""
    few = patches.take(np.r_[np.flatnonzero(patches.y == 0)[:9], np.flatnonzero(patches.y == 1)[:3]])
    model = small()
    model.get_layer("backbone").trainable = False  # BatchNorm as in prediction
    logits = predict_logits(model, few)[:, 0].astype(float)
    loss = -np.log(np.where(few.y == 1, probability(logits), probability(-logits)))
    weight = np.where(few.y == 1, 3, 1)  # 9 / 3
    frozen = config(unfreezing="frozen", learning_rate=1e-9)
    history = pg.fit_patches(model, few, few, config(**{**vars(frozen), "positive_weight": "balanced"}))
    assert history["loss"][0] == pytest.approx((weight * loss).mean(), rel=1e-4)
    assert history["val_loss"][0] == pytest.approx(loss.mean(), rel=1e-4)
    assert pg.fit_patches(model, few, few, frozen)["loss"][0] == pytest.approx(loss.mean(), rel=1e-4)


@pytest.mark.slow
def test_it_learns_what_is_planted(patches):
    """Large nuclei in the middle."""
    given = config(epochs=12, learning_rate=5e-3, schedule="one_cycle", batch_size=8)
    history = pg.fit_patches(small(), patches.take(range(30)), patches.take(range(30, 40)), given)
    assert history["val_auc"].iloc[-1] == 1
    assert history["loss"].iloc[-1] < 0.7 * history["loss"].iloc[0]


@pytest.mark.slow
def test_the_best_epoch_may_be_kept_and_a_step_is_traced_once(patches, monkeypatch):
    """Batches of two sizes, three epochs, another rate in each step: one program."""
    aucs = iter([0.6, 0.9, 0.7])
    monkeypatch.setattr("permgrad.patches.training.roc_auc_score", lambda *given: next(aucs))
    model, weights, calls = small(), [], []
    logit = model.get_layer("logit")
    call = type(logit).call
    monkeypatch.setattr(type(logit), "call", lambda self, x, training=None: calls.append(training) or call(self, x))
    given = config(epochs=3, keep="best", schedule="cosine")
    pg.fit_patches(model, patches, patches, given, on_epoch=lambda row: weights.append(logit.get_weights()[0].copy()))
    np.testing.assert_array_equal(logit.get_weights()[0], weights[1])
    if keras.backend.backend() == "tensorflow":
        assert calls.count(True) == 1


def test_bad_input(patches):
    with pytest.raises(pg.PermGradError, match="schedule must be one of 'constant', 'cosine', 'one_cycle', got 'step'"):
        config(schedule="step")
    with pytest.raises(pg.PermGradError, match="gradual unfreezing needs at least 2 epochs"):
        config(unfreezing="gradual")
    with pytest.raises(pg.PermGradError, match="positive_weight must be"):
        config(positive_weight="even")
    with pytest.raises(pg.PermGradError, match="batch_size must be positive, got 0"):
        config(batch_size=0)
    with pytest.raises(pg.PermGradError, match="weight_decay must be at least 0"):
        config(weight_decay=-1)
    model, negative = small(), patches.take(np.flatnonzero(patches.y == 0))
    with pytest.raises(pg.PermGradError, match="training needs patches of both classes, 0 and 1; found 0"):
        pg.fit_patches(model, negative, patches, config())
    with pytest.raises(pg.PermGradError, match="validation needs patches with labels"):
        pg.fit_patches(model, patches, pg.Patches(patches.ids, patches.files, patches.shape), config())
    model.get_layer("logit").bias.assign([np.nan])
    with pytest.raises(pg.PermGradError, match="training diverged in epoch 1"):
        pg.fit_patches(model, patches, patches, config())
