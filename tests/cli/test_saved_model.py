"""`permgrad rank --model`: a saved network's columns, ranked on all rows of a table."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import permgrad as pg
from permgrad.backend import keras

L = keras.layers


def network(weights, activation=None, loss="mse", inputs=None):
    """A single layer with known weights, of one table or of an input for each column."""
    rows = keras.Input((len(weights),)) if inputs is None else [keras.Input((1,), name=name) for name in inputs]
    layer = L.Dense(np.shape(weights)[1], activation)
    model = keras.Model(rows, layer(rows if inputs is None else L.Concatenate()(rows)))
    layer.set_weights([np.asarray(weights, np.float32), np.zeros(np.shape(weights)[1])])
    if loss is not None:
        model.compile("sgd", loss)
    return model


@pytest.fixture
def table(tmp_path, rng):
    frame = pd.DataFrame(rng.normal(size=(80, 3)), columns=list("abc"))
    frame["value"] = 2 * frame["a"] + frame["b"]
    frame["label"] = np.where(frame["a"] > 0, "up", "down")
    frame["bit"] = (frame["a"] > 0).astype(int)

    def write(*columns):
        frame[list(columns)].to_csv(tmp_path / "t.csv", index=False)
        return tmp_path / "t.csv"

    return write


@pytest.fixture
def saved(tmp_path):
    def save(model):
        model.save(tmp_path / "own.keras")
        return tmp_path / "own.keras"

    return save


def test_it_ranks_as_python_does(table, saved, command, tmp_path):
    path, model = table("a", "b", "c", "value"), network([[2.0], [1.0], [0.0]])
    out = tmp_path / "out"
    given = ["--target", "value", "--model", saved(model), "--n-repeats", 3, "--random-state", 4]
    ran = command("rank", path, *given, "--out", out)
    assert ran.code == 0, ran.stderr
    frame = pd.read_csv(path)
    X, y = frame[["a", "b", "c"]].astype("float32"), frame["value"]
    expected = pg.rank_features(model, X, y, n_repeats=3, random_state=4)
    ranking = pg.FeatureRanking.load(out / "ranking.json")
    np.testing.assert_allclose(ranking.scores, expected.scores)
    assert ranking.features == ("a", "b", "c")
    assert ranking.settings["test_scores"]["r2"] == pytest.approx(1)
    assert ranking.settings["test_rows"] == 80
    assert {path.name for path in out.iterdir()} >= {"ranking.csv", "ranking.json", "ranking.png", "report.html"}
    page = (out / "report.html").read_text()
    for said in (
        "80 rows × 3 columns",
        "80: all of them test rows",
        "whether the network was fitted on some of them is not known here",
        "keras.models.load_model(&#39;own.keras&#39;)",
        "pg.rank_features(model, table, table.y, n_repeats=3, random_state=4)",
        ranking.settings["model"]["sha256"],
        "This page explains no rows of a model that permgrad did not train",
    ):
        assert said in page, said
    assert "model/" not in page
    (out / "report.html").unlink()
    assert command("report", out).code == 0
    assert (out / "report.html").read_text() == page
    assert "test rows (80): r2 1" in ran.stdout
    again = command("rank", path, *given, "--out", out)
    assert again.code == 2
    assert "exists already and is kept" in again.stderr


@pytest.mark.parametrize(
    ("target", "end", "options"),
    [
        ("label", ("sigmoid", "binary_crossentropy"), []),
        ("bit", (None, keras.losses.BinaryCrossentropy(from_logits=True)), []),
        ("bit", (None, None), ["--task", "classification"]),
    ],
)
def test_classes(target, end, options, table, saved, command, tmp_path):
    path = table("a", "b", "c", target)
    given = ["--model", saved(network([[5.0], [0.0], [0.0]], *end)), "--out", tmp_path / "out", *options]
    ran = command("rank", path, "--target", target, *given)
    assert ran.code == 0, ran.stderr
    ranking = pg.FeatureRanking.load(tmp_path / "out" / "ranking.json")
    assert ranking.classes == (("down", "up") if target == "label" else ("0", "1"))
    assert ranking.select(1) == ["a"]
    assert ranking.settings["test_scores"]["accuracy"] == 1
    assert ("in the order of the model's outputs: down, up" in ran.stdout) == (target == "label")
    page = (tmp_path / "out" / "report.html").read_text()
    assert ("table.y, classes=[&#39;down&#39;, &#39;up&#39;]" in page) == (target == "label")
    assert {"roc.png", "confusion.png", "effects.png"} <= {path.name for path in (tmp_path / "out").iterdir()}


def test_a_network_that_cannot_be_cut_is_ranked_from_outside(table, saved, command, tmp_path):
    """An input for each column, by name; and a network that draws an image of its columns."""
    path = table("a", "b", "c", "value")
    by_name = network([[0.0], [2.0], [1.0]], inputs="cab")
    row = keras.Input((3,))
    image = L.Conv2D(2, (1, 2), name="look")(L.Reshape((1, 3, 1))(row))
    drawing = keras.Model(row, L.Dense(1)(L.Concatenate()([L.Dense(2)(row), L.Flatten()(image)])))
    drawing.compile("sgd", "mse")
    for number, model in enumerate((by_name, drawing)):
        out = tmp_path / f"out{number}"
        ran = command("rank", path, "--target", "value", "--model", saved(model), "--out", out)
        assert ran.code == 0, ran.stderr
        ranking = pg.FeatureRanking.load(out / "ranking.json")
        assert ranking.features == ("a", "b", "c")
        assert ranking.method == "shapley"
        assert ranking.branch_weights is None
    assert pg.FeatureRanking.load(tmp_path / "out0" / "ranking.json").select(2) == ["a", "b"]


class Unregistered(L.Layer):
    def call(self, x):
        return x * 1


def unregistered():
    row = keras.Input((3,))
    return keras.Model(row, L.Dense(1)(Unregistered()(row)))


def of_code():
    row = keras.Input((3,))
    return keras.Model(row, L.Dense(1)(L.Lambda(lambda x: x)(row)))


PLAIN = [[1.0], [0.0], [0.0]]
BAD = {
    "absent": (None, ["value"], [], "cannot read"),
    "too few columns": (
        network(PLAIN),
        ["b", "value"],
        [],
        "takes 3 numbers per row, the table has 2 columns",
    ),
    "text": (
        network([*PLAIN, [0.0]]),
        ["b", "c", "label", "value"],
        [],
        "without missing values; these are not: 'label'",
    ),
    "labels of values": (network(PLAIN), ["b", "c", "label"], [], "pass --task classification"),
    "ambiguous": (network(PLAIN, loss=None), ["b", "c", "bit"], [], "only 0 and 1: classes, or values"),
    "other classes": (network(np.eye(3), "softmax"), ["b", "c", "label"], [], "tells 3 classes apart, 'label' holds 2"),
    "training": (network(PLAIN), ["b", "c", "value"], ["--epochs", "3", "--evaluate"], "leave out '--"),
    "unregistered": (unregistered(), ["b", "c", "value"], [], "holds a Lambda or a custom layer"),
    "code": (of_code(), ["b", "c", "value"], [], "holds a Lambda or a custom layer"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_fit_is_one_line_and_exit_code_2(case, table, saved, command, tmp_path):
    model, columns, options, message = BAD[case]
    path = table("a", *columns)
    file = tmp_path / "absent.keras" if model is None else saved(model)
    ran = command("rank", path, "--target", columns[-1], "--model", file, "--out", tmp_path / "out", *options)
    assert ran.code == 2
    assert message in ran.stderr
    assert "Traceback" not in ran.stderr
    assert not (tmp_path / "out").exists()
    (tmp_path / "damaged.keras").write_bytes(b"no model")
    if case == "absent":
        ran = command("rank", path, "--target", "value", "--model", tmp_path / "damaged.keras", "--out", tmp_path / "o")
        assert "damaged" in ran.stderr


def test_what_its_directory_does_not_hold_is_one_line(command, tmp_path):
    """The page, a network: whatever command asks for them."""
    pg.FeatureRanking(("a", "b"), np.array([1.0, 0.0])).save(tmp_path / "ranking.json")
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    for given in (["report"], ["serve"], ["predict", "t.csv"], ["explain", "t.csv", "--row", 1]):
        ran = command(given[0], tmp_path, *(tmp_path / each if each == "t.csv" else each for each in given[1:]))
        assert ran.code == 2
        assert "holds the ranking of a saved model (rank --model), without a network" in ran.stderr, given
        assert "\n" not in ran.stderr.strip()
    ran = command("evaluate", tmp_path)
    assert "holds the ranking of a saved model" in ran.stderr
