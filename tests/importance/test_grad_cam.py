from __future__ import annotations

import cv2
import numpy as np
import pytest

import permgrad as pg
from permgrad.backend import keras
from permgrad.importance.bootstrap import Bootstrap
from permgrad.importance.network._splitting import split_at_convolution
from permgrad.importance.network.branches import cut_model
from permgrad.importance.pixels import read_pixels
from tests.oracle import plain_grad_cam, plain_read, predicted

pytestmark = pytest.mark.backend

layers = keras.layers


def parts(model: keras.Model):
    """Split a hybrid by layer names: (to activations, activations and tabular code to output, tabular encoder)."""
    cut = cut_model(model)
    last = max(layer.name for layer in model.layers if layer.name.startswith("conv_"))
    activations = model.get_layer(last).output
    tabular = next((b for b in cut.branches if b.kind == "tabular"), None)
    others = [] if tabular is None else [tabular.code]
    to_output = keras.Model([activations, *others], model.outputs[0])
    return keras.Model(model.inputs[0], activations), to_output, tabular and tabular.encoder


@pytest.mark.parametrize(("task", "n_outputs"), [("regression", 1), ("classification", 2), ("classification", 4)])
@pytest.mark.parametrize("branches", [("tabular", "image"), ("image",)])
def test_agrees_with_plain_loop(task, n_outputs, branches, random_hybrid, layout, rng):
    model = random_hybrid(task, n_outputs, branches)
    X = rng.random((5, 6)).astype(np.float32)
    before, after, tabular = parts(model)
    others = None if tabular is None else predicted(tabular, X)
    plain = plain_grad_cam(before, after, X, others, n_outputs)
    maps = pg.grad_cam_maps(model, X)
    assert maps.shape == (5, 4, 4, n_outputs)
    assert plain.max() == 1  # else the comparison would be of zeros
    np.testing.assert_allclose(maps, plain, rtol=1e-4, atol=1e-5)

    ranking = pg.grad_cam(model, X, layout, groups={"one": [3], "two": [0, 5]})
    read = plain_read(plain, layout).mean(axis=0)
    expected = np.stack([read[3], read[[0, 5]].mean(axis=0)])
    np.testing.assert_allclose(ranking.scores, expected.mean(axis=1), rtol=1e-4, atol=1e-5)
    if task == "classification":
        np.testing.assert_allclose(ranking.class_scores, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("method", "at"), [("layer_cam", "conv_1"), ("layer_cam", "conv_0"), ("gradient_input", "image")]
)
@pytest.mark.parametrize(("task", "n_outputs"), [("regression", 1), ("classification", 3)])
def test_finer_maps_agree_with_plain_loop(method, at, task, n_outputs, random_hybrid, layout, rng):
    model, X = random_hybrid(task, n_outputs), rng.random((4, 6)).astype(np.float32)
    tabular = next(b for b in cut_model(model).branches if b.kind == "tabular")
    activations = model.get_layer(at).output
    before, after = (
        keras.Model(model.inputs[0], activations),
        keras.Model([activations, tabular.code], model.outputs[0]),
    )
    plain = plain_grad_cam(before, after, X, predicted(tabular.encoder, X), n_outputs, method)
    layer = {"conv_0": "first", "conv_1": "last", "image": "last"}[at]
    maps = pg.grad_cam_maps(model, X, attribution=method, layer=layer)
    assert plain.max() == 1
    np.testing.assert_allclose(maps, plain, rtol=1e-3, atol=1e-5)
    ranking = pg.grad_cam(model, X, layout, attribution=method, layer=layer)
    assert ranking.method == method
    np.testing.assert_allclose(ranking.scores, plain_read(plain, layout).mean(axis=(0, 2)), rtol=1e-3, atol=1e-5)


def test_layer_cam_and_gradient_input_by_hand():
    """The channels' gradients are [[1, 2], [3, 2]] and [[-1, 0], [0, -3]]; A1 = x, A2 = 2x, x = [[1, 2], [-4, 8]].

    LayerCAM: positive gradients alone, x * [[1, 2], [3, 2]] → relu → [[1, 4], [0, 16]]. The image's own gradient is
    1 * [[1, 2], [3, 2]] + 2 * [[-1, 0], [0, -3]] = [[-1, 2], [3, -4]]; times x, absolute: [[1, 4], [12, 32]].
    """
    model = hand_model(keras.Input((2, 2, 1)))
    x = np.array([[1.0, 2.0], [-4.0, 8.0]], np.float32).reshape(1, 2, 2, 1)
    layer_cam = pg.grad_cam_maps(model, x, attribution="layer_cam")[0, :, :, 0]
    np.testing.assert_allclose(layer_cam, np.array([[1, 4], [0, 16]]) / 16, rtol=1e-6)
    gradient_input = pg.grad_cam_maps(model, x, attribution="gradient_input")[0, :, :, 0]
    np.testing.assert_allclose(gradient_input, np.array([[1, 4], [12, 32]]) / 32, rtol=1e-6)


def test_interpolated_reading_is_opencvs(layout, rng):
    maps = rng.random((3, 4, 2, 2)).astype(np.float32)
    read = read_pixels(maps, layout, "bilinear")
    for i in range(3):
        large = cv2.resize(maps[i], layout.shape[::-1], interpolation=cv2.INTER_LINEAR)
        np.testing.assert_allclose(read[i], large[layout.rows, layout.cols], rtol=1e-5, atol=1e-6)


def test_intervals_are_of_rows_drawn_anew(random_hybrid, layout, rng):
    model, X = random_hybrid("classification", 3), rng.random((50, 6)).astype(np.float32)
    ranking = pg.grad_cam(model, X, layout, random_state=5)
    heat = read_pixels(pg.grad_cam_maps(model, X), layout)
    drawn = Bootstrap.of(50, 5)
    rows = [np.repeat(np.arange(50), weights[drawn.bundle].astype(int)) for weights in drawn.weights]
    replicates = drawn.widened(heat.mean(axis=0), np.array([heat[r].mean(axis=0) for r in rows]))
    np.testing.assert_allclose(ranking.class_replicates, replicates, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        ranking.high, np.quantile(replicates.mean(axis=2), 0.975, axis=0, method="weibull"), rtol=1e-4
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [({"attribution": "cam"}, "'gradient_input', got 'cam'"), ({"readout": "mean"}, "'cell', 'bilinear', got 'mean'")],
)
def test_unknown_options(options, message, random_hybrid, layout):
    with pytest.raises(pg.PermGradError, match=message):
        pg.grad_cam(random_hybrid("regression", 1), np.zeros((2, 6)), layout, **options)


def test_small_blocks_change_nothing(random_hybrid, rng, monkeypatch):
    from permgrad.importance.network import _inputs as inputs

    model, X = random_hybrid("classification", 3), rng.random((20, 6)).astype(np.float32)
    whole = pg.grad_cam_maps(model, X)
    monkeypatch.setattr(inputs, "MEMORY", 4 * 6000)
    np.testing.assert_allclose(pg.grad_cam_maps(model, X), whole, rtol=1e-4, atol=1e-6)


def hand_model(image):
    """1 × 1 convolution into channels x and 2x, then a weighted sum of all activations."""
    x = layers.Conv2D(2, 1, use_bias=False, name="conv")(image)
    output = layers.Dense(1, use_bias=False, name="sum")(layers.Flatten()(x))
    model = keras.Model(image, output)
    model.get_layer("conv").set_weights([np.array([[[[1.0, 2.0]]]])])
    # (row, column, channel) of a 2 × 2 image, in Flatten's order
    weights = np.array([[[1.0, -1.0], [2.0, 0.0]], [[3.0, 0.0], [2.0, -3.0]]])
    model.get_layer("sum").set_weights([weights.reshape(-1, 1)])
    return model


def test_map_by_hand():
    """Channel weights are the means of the gradients: (1+2+3+2)/4 = 2 and (-1+0+0-3)/4 = -1.

    With A1 = x and A2 = 2x the sum 2 A1 - A2 is 0 everywhere; with A1's gradient one larger it is x, and
    x = [[1, 2], [-4, 8]] gives relu → [[1, 2], [0, 8]], divided by 8.
    """
    model = hand_model(keras.Input((2, 2, 1)))
    x = np.array([[1.0, 2.0], [-4.0, 8.0]], np.float32).reshape(1, 2, 2, 1)
    np.testing.assert_array_equal(pg.grad_cam_maps(model, x), np.zeros((1, 2, 2, 1)))
    weights = model.get_layer("sum").get_weights()[0].reshape(4, 2)
    weights[:, 0] += 1
    model.get_layer("sum").set_weights([weights.reshape(-1, 1)])
    np.testing.assert_allclose(pg.grad_cam_maps(model, x)[0, :, :, 0], [[1 / 8, 2 / 8], [0, 1]], rtol=1e-6)


def test_pixels_are_read_where_the_layout_says():
    layout = pg.FeatureLayout(
        ("a", "b", "c"), np.array([0, 3, 3]), np.array([3, 0, 3]), (4, 4), np.zeros(3), np.ones(3), "by hand"
    )
    coarse = np.array([[0.1, 0.2], [0.3, 0.4]]).reshape(1, 2, 2, 1)
    np.testing.assert_array_equal(read_pixels(coarse, layout)[0, :, 0], [0.2, 0.3, 0.4])


def test_each_class_has_its_own_map(random_hybrid, rng):
    maps = pg.grad_cam_maps(random_hybrid("classification", 3), rng.random((5, 6)))
    assert not np.allclose(maps[..., 0], maps[..., 1])


@pytest.mark.parametrize("final", ["softmax layer", "softmax dense", "activation", "sigmoid"])
def test_saturated_probabilities_keep_their_maps(final, rng):
    """A class with probability 1 in float32 has gradient 0; its map must not vanish."""
    image = keras.Input((4, 4, 1))
    z = layers.Flatten()(layers.Conv2D(3, 3, padding="same", activation="relu")(image))
    output = {
        "softmax layer": lambda: layers.Softmax()(layers.Dense(2, name="z")(z)),
        "softmax dense": lambda: layers.Dense(2, "softmax", name="z")(z),
        "activation": lambda: layers.Activation("softmax")(layers.Dense(2, name="z")(z)),
        "sigmoid": lambda: layers.Dense(1, "sigmoid", name="z")(z),
    }[final]()
    model = keras.Model(image, output)
    X = rng.random((6, 4, 4, 1)).astype(np.float32)
    mild = pg.grad_cam_maps(model, X)
    assert mild.shape[-1] == 2
    kernel, bias = model.get_layer("z").get_weights()
    model.get_layer("z").set_weights([kernel * 1000, bias])
    np.testing.assert_allclose(pg.grad_cam_maps(model, X), mild, rtol=1e-3, atol=1e-4)


def test_nested_network_equals_flat_one(rng):
    image = keras.Input((6, 6, 1))
    body = keras.Sequential([keras.Input((6, 6, 1)), layers.Conv2D(3, 3), layers.MaxPooling2D(2), layers.Flatten()])
    table = keras.Input((2,))
    code = layers.Dense(3)(table)
    head = layers.Dense(2, "softmax")
    nested = keras.Model([table, image], head(layers.Concatenate()([code, body(image * 2)])))
    x = image * 2
    for layer in body.layers:
        x = layer(x)
    flat = keras.Model([table, image], head(layers.Concatenate()([code, x])))
    data = [rng.random((5, 2)), rng.random((5, 6, 6, 1))]
    np.testing.assert_allclose(pg.grad_cam_maps(nested, data), pg.grad_cam_maps(flat, data), rtol=1e-5)
    assert pg.grad_cam_maps(nested, data).max() == 1


@pytest.mark.parametrize("ends", ["in its convolution", "in two side by side", "with a skip around it"])
def test_nested_network_that_ends_in_its_map_equals_flat_one(ends, rng):
    image, inner = keras.Input((6, 6, 1)), keras.Input((6, 6, 1))
    one, two = (layers.Conv2D(1, size, padding="same") for size in (3, 5))
    side_by_side, added = layers.Concatenate(), layers.Add()
    if ends == "in two side by side":
        body, flat = keras.Model(inner, side_by_side([one(inner), two(inner)])), side_by_side([one(image), two(image)])
    else:
        body, flat = keras.Model(inner, one(inner)), one(image)
    nested = body(image)
    if ends == "with a skip around it":
        nested, flat = added([image, nested]), added([image, flat])
    last, flatten = layers.Dense(2, "softmax"), layers.Flatten()
    models = [keras.Model(image, last(flatten(x))) for x in (nested, flat)]
    X = rng.random((5, 6, 6, 1)).astype(np.float32)
    ours, expected = (pg.grad_cam_maps(model, X) for model in models)
    assert expected.max() == 1
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-6)


def test_a_nested_network_that_nothing_separates_is_one_clear_error():
    image = keras.Input((6, 6, 1))
    body = keras.Sequential([keras.Input((6, 6, 1)), layers.Conv2D(3, 3), layers.Flatten()])
    x = layers.Concatenate()([body(image), body(layers.Permute((2, 1, 3))(image))])
    with pytest.raises(pg.PermGradError, match="all that follows must depend on its output"):
        split_at_convolution(keras.Model(image, layers.Dense(1)(x)))


def test_skip_connection_is_split_behind_it(rng):
    image = keras.Input((4, 4, 2))
    x = layers.Add(name="joined")([image, layers.Conv2D(2, 3, padding="same", name="conv")(image)])
    model = keras.Model(image, layers.Dense(1)(layers.Flatten()(x)))
    before, _ = split_at_convolution(model)
    X = rng.random((2, 4, 4, 2)).astype(np.float32)
    expected = keras.Model(image, x).predict(X, verbose=0)
    np.testing.assert_allclose(before.predict(X, verbose=0), expected, rtol=1e-6)


def test_chosen_layer(random_hybrid, rng):
    model, X = random_hybrid("regression", 1), rng.random((3, 6))
    assert pg.grad_cam_maps(model, X, layer="conv_0").shape == (3, 8, 8, 1)
    with pytest.raises(pg.PermGradError, match="no suitable convolution 'nope'"):
        pg.grad_cam_maps(model, X, layer="nope")


def test_tabular_model_has_no_image_branch(random_hybrid, layout):
    with pytest.raises(pg.PermGradError, match="one image branch, this one has 0"):
        pg.grad_cam(random_hybrid("regression", 1, ("tabular",)), np.zeros((2, 6)), layout)
