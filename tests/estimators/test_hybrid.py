from __future__ import annotations

import json
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.exceptions import NotFittedError

import permgrad as pg
from permgrad.backend import keras
from tests.conftest import SMALL


@pytest.fixture(scope="module")
def cancer():
    return pg.load_dataset("breast_cancer").split()


@pytest.fixture(scope="module")
def fitted(cancer):
    train, val, _ = cancer
    model = pg.HybridClassifier(**SMALL, epochs=8, learning_rate=5e-3)
    return model.fit(train.X, train.y, validation_data=(val.X, val.y))


@pytest.fixture(scope="module")
def mixed_fit():
    """A regressor on text, boolean, missing and constant columns; ``dose`` and ``colour`` decide the target."""
    rng = np.random.default_rng(5)
    n = 400
    X = pd.DataFrame(
        {
            "same": 1.0,
            "colour": rng.choice(["red", "green", "blue"], n),
            "age": np.where(rng.random(n) < 0.1, np.nan, rng.normal(50, 9, n)),
            "smoker": rng.random(n) < 0.5,
            "dose": rng.random(n),
            "empty": np.nan,
        }
    )
    y = 1e6 * (3 * X["dose"] + 2 * (X["colour"] == "red"))
    model = pg.HybridRegressor(**SMALL, epochs=25, learning_rate=2e-2)
    with pytest.warns(UserWarning, match="no information in 'same', 'empty'"):
        model.fit(X[:300], y[:300])
    return model, X[300:], y[300:]


@pytest.mark.slow
def test_learns_and_ranks_real_data(fitted, cancer):
    test = cancer[2]
    assert fitted.score(test.X, test.y) > 0.9
    probabilities = fitted.predict_proba(test.X)
    assert probabilities.shape == (len(test), 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    ranking = fitted.rank_features(test.X, test.y)
    assert sorted(ranking.features) == sorted(test.features)
    assert ranking.classes == ("benign", "malignant")
    assert set(ranking.branch_weights) == {"tabular", "image"}


@pytest.mark.slow
def test_columns_are_ranked_as_the_user_gave_them(mixed_fit):
    model, X, y = mixed_fit
    assert model.score(X, y) > 0.8  # the target's unit of a million does not matter
    ranking = model.rank_features(X, y)
    assert ranking.features == tuple(X.columns)
    assert set(ranking.select(2)) == {"dose", "colour"}
    assert set(ranking.components["end_to_end"].select(2)) == {"dose", "colour"}
    assert ranking.table["feature"].tolist()[-2:] == ["same", "empty"]
    assert ranking.table["score"].tolist()[-2:] == [0, 0]


def test_a_categorys_columns_are_permuted_together(mixed_fit):
    """Permuting the raw column and encoding it again is what the ranking must equal."""
    model, X, y = mixed_fit
    ranking = model.rank_features(X, y, n_repeats=1, random_state=3, formula="fused")
    ranked = list(model.encoder_.groups_)
    order = np.random.default_rng([3, ranked.index("colour"), 0]).permutation(len(X))
    shuffled = X.assign(colour=X["colour"].to_numpy()[order])
    tabular, image = (model.encoder_.transform(frame) for frame in (shuffled, X))
    cut = pg.cut_model(model.network_)
    predicted = cut.head([cut.branches[0].encoder(tabular), cut.branches[1].encoder(image)])
    loss = np.mean((np.asarray(predicted)[:, 0] - y) ** 2) - np.mean((model.predict(X) - y) ** 2)
    assert ranking.components["permutation"].scores[1] == pytest.approx(loss, rel=1e-4)


@pytest.mark.slow
def test_same_seed_same_ranking(cancer):
    train, _, test = cancer
    rankings = [
        pg.HybridClassifier(**SMALL, epochs=1, random_state=random_state)
        .fit(train.X, train.y)
        .rank_features(test.X, test.y, end_to_end=False, formula="fused")
        for random_state in (1, 1, 2)
    ]
    assert rankings[0] == rankings[1]
    assert rankings[0] != rankings[2]


@pytest.mark.slow
def test_global_random_state_is_left_alone(cancer):
    train = cancer[0]
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    pg.HybridClassifier(**SMALL, epochs=1).fit(train.X, train.y)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@pytest.mark.slow
@pytest.mark.parametrize("branches", [("image",), "tabular"])
def test_one_branch(branches, cancer):
    train, _, test = cancer
    model = pg.HybridClassifier(**SMALL, epochs=1, branches=branches).fit(train.X, train.y)
    ranking = model.rank_features(test.X, test.y, formula="fused")
    kind = branches if isinstance(branches, str) else branches[0]
    assert ranking.branch_weights == {kind: 1.0}
    assert (model.layout_ is None) == (kind == "tabular")


def test_saved_and_loaded_predicts_and_ranks_alike(mixed_fit, tmp_path):
    model, X, y = mixed_fit
    model.save(tmp_path / "m")
    loaded = pg.load(tmp_path / "m")
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    rankings = [each.rank_features(X, y, formula="fused") for each in (loaded, model)]
    assert rankings[0].table["feature"].tolist() == rankings[1].table["feature"].tolist()
    np.testing.assert_allclose(rankings[0].scores, rankings[1].scores, rtol=1e-6, atol=1e-9)
    assert loaded.get_params() == model.get_params()
    files = sorted(path.name for path in (tmp_path / "m").iterdir())
    assert files == ["README.md", "estimator.json", "manifest.json", "network.keras"]


def test_the_keras_file_alone_takes_raw_rows(fitted, cancer, tmp_path):
    fitted.save(tmp_path / "m")
    network = keras.models.load_model(tmp_path / "m" / "network.keras")
    rows = cancer[2].X.to_numpy(np.float32)
    np.testing.assert_allclose(network.predict(rows, verbose=0), fitted.predict_proba(cancer[2].X), rtol=1e-5)


@pytest.mark.slow
def test_class_weight_and_labels_of_any_kind(cancer, tmp_path):
    train = cancer[0]
    y = (train.y == "malignant").to_numpy()
    X = train.X.to_numpy() + np.random.default_rng(0).normal(scale=50, size=train.X.shape)
    shares = []
    for weight in ({True: 50.0, False: 1.0}, {True: 1.0, False: 50.0}, "balanced"):
        model = pg.HybridClassifier(**SMALL, branches="tabular", epochs=6, class_weight=weight).fit(X, y)
        shares.append(model.predict(X).mean())
    assert shares[1] < shares[2] < shares[0]
    model.set_params(class_weight={True: 2.0, False: 1.0}).save(tmp_path / "m")
    loaded = pg.load(tmp_path / "m")
    assert loaded.class_weight == {True: 2.0, False: 1.0}
    assert loaded.classes_.dtype == bool


@pytest.mark.slow
def test_mixed_precision_learns_and_stays_float32_outside(cancer):
    train, _, test = cancer
    model = pg.HybridClassifier(**SMALL, epochs=5, learning_rate=1e-2, precision="mixed_bfloat16")
    model.fit(train.X, train.y)
    assert model.network_.get_layer("tabular_0").compute_dtype == "bfloat16"
    assert model.network_.get_layer("scale").compute_dtype == "float32"
    assert model.predict_proba(test.X).dtype == np.float32
    assert model.score(test.X, test.y) > 0.85
    assert np.isfinite(model.rank_features(test.X, test.y, formula="fused").scores).all()


@pytest.mark.slow
def test_validation_rows_only_decide_when_to_stop(cancer):
    train, val, _ = cancer
    model = pg.HybridClassifier(**SMALL, epochs=2)
    model.fit(train.X, train.y, validation_data=(val.X * 100, val.y))
    np.testing.assert_array_equal(model.layout_.maximum, train.X.max().to_numpy(np.float32))


def test_validation_rows_may_be_arrays_and_few(cancer):
    train, val, _ = cancer
    model = pg.HybridClassifier(**SMALL, epochs=1, branches="tabular")
    benign = (val.y == "benign").to_numpy()
    model.fit(train.X, train.y, validation_data=(val.X[benign].to_numpy(), val.y[benign]))
    for data, message in [
        ((val.X.drop(columns="mean area"), val.y), "absent: 'mean area'; not expected: none"),
        ((val.X, val.y[:5]), "a target for each row"),
        ((val.X, ["other"] * len(val)), "labels not seen in training: 'other'"),
    ]:
        with pytest.raises(pg.PermGradError, match=message):
            model.fit(train.X, train.y, validation_data=data)


@pytest.mark.slow
def test_target_that_float32_would_blur(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.random((400, 3))
    y = 1e8 + 3 * X[:, 0]
    model = pg.HybridRegressor(**SMALL, branches="tabular", epochs=20, learning_rate=1e-2).fit(X[:300], y[:300])
    assert model.score(X[300:], y[300:]) > 0.8
    assert model.rank_features(X[300:], y[300:], formula="fused").select(1) == ["x0"]
    model.save(tmp_path / "m")
    np.testing.assert_array_equal(pg.load(tmp_path / "m").predict(X), model.predict(X))


@pytest.mark.slow
def test_numpy_settings_are_saved(cancer, tmp_path):
    train = cancer[0]
    settings = {"epochs": np.int64(1), "learning_rate": np.float32(0.5), "random_state": np.int64(3)}
    model = pg.HybridClassifier(**SMALL, branches="tabular", **settings)
    model.fit(train.X, train.y).save(tmp_path / "m")
    assert pg.load(tmp_path / "m").learning_rate == 0.5
    ranking = model.rank_features(train.X, train.y, formula="fused")
    ranking.save(tmp_path / "r.json")
    assert pg.FeatureRanking.load(tmp_path / "r.json") == ranking


EXTENSIONS = [
    {"scaling": "quantile", "embedding": "piecewise", "embedding_size": 4, "ensemble_size": 3, "batch_norm": False},
    {"embedding": "periodic", "ensemble_size": 2, "schedule": "constant"},
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "settings"),
    [(pg.HybridClassifier, EXTENSIONS[0]), (pg.HybridRegressor, EXTENSIONS[1])],
    ids=["piecewise classifier", "periodic regressor"],
)
def test_extended_networks_are_saved_and_loaded(kind, settings, rng, tmp_path):
    X = rng.random((60, 6))
    y = (X[:, 0] > 0.5).astype(int)
    model = kind(**SMALL, **settings, epochs=1).fit(X, y)
    model.save(tmp_path / "m")
    loaded = pg.load(tmp_path / "m")
    assert loaded.get_params() == model.get_params()
    # A backend may order the operations of a graph that was loaded otherwise, and round otherwise.
    np.testing.assert_allclose(loaded.predict(X), model.predict(X), rtol=1e-5)
    rankings = [each.rank_features(X, y, end_to_end=False, formula="fused") for each in (loaded, model)]
    np.testing.assert_allclose(rankings[0].scores, rankings[1].scores, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_a_batch_ensemble_finds_a_planted_feature(rng):
    X = rng.random((400, 6))
    y = (np.abs(X[:, 2] - 0.5) < 0.25).astype(int)  # a bend that no straight line sees
    settings = {**SMALL, **EXTENSIONS[0], "schedule": "constant", "learning_rate": 1e-2, "epochs": 15}
    model = pg.HybridClassifier(**settings).fit(X[:300], y[:300])
    assert model.score(X[300:], y[300:]) > 0.85
    ranking = model.rank_features(X[300:], y[300:])
    assert ranking.select(1) == ["x2"]
    assert all(part.select(1) == ["x2"] for part in ranking.components.values())


@pytest.mark.slow
def test_bins_find_a_ring_among_noise():
    """No column of the ring tells anything alone; without bins the accuracy is below 0.6."""
    table = pg.toy.ring(1000, 16, random_state=1)
    train, test = table.take(np.arange(833)), table.take(np.arange(833, 1000))
    settings = {"optimizer": "adamw", "weight_decay": 2.0, "learning_rate": 5e-3, "batch_size": 64}
    model = pg.HybridClassifier(
        preset="published",
        branches=("tabular",),
        embedding="piecewise",
        embedding_size=8,
        epochs=80,
        patience=80,
        **settings,
    )
    model.fit(train.X, train.y)
    assert model.score(test.X, test.y) > 0.7
    assert set(model.rank_features(test.X, test.y).select(2)) == set(table.notes["relevant"])


BAD_FIT = {
    "branches": ({"branches": ("text",)}, "branches must be 'tabular', 'image' or both"),
    "layers": ({"n_conv_layers": 9}, "9 convolution blocks halve the image"),
    "embedding": ({"embedding_size": 1}, "embedding_size must be at least 2"),
    "scaling": ({"scaling": "rank"}, "scaling must be one of"),
    "units": ({"dense_units": (0,)}, "at least 1"),
    "dropout": ({"dropout": 1.0}, r"dropout must be in \[0, 1\)"),
    "precision": ({"precision": "float8"}, "precision must be"),
    "optimizer": ({"optimizer": "sgd"}, "'adam', 'adamw'"),
    "epochs": ({"epochs": 0}, "epochs must be positive"),
    "random_state": ({"random_state": -1}, "random_state must be at least 0"),
    "batch": ({"batch_size": 0}, "batch_size must be positive"),
    "fraction": ({"validation_fraction": 1.0}, "validation_fraction"),
    "pixels": ({"image_size": 4}, "30 features need at least 30 pixels"),
    "class weight": ({"class_weight": {"benign": 1}}, "class_weight must name the classes"),
}


@pytest.mark.parametrize("case", BAD_FIT)
def test_bad_settings(case, cancer):
    settings, message = BAD_FIT[case]
    model = pg.HybridClassifier(**{**SMALL, **settings})
    with pytest.raises(pg.PermGradError, match=message):
        model.fit(cancer[0].X, cancer[0].y)


def test_columns_that_differ_from_fit_are_named(fitted, cancer):
    X = cancer[2].X.rename(columns={"mean radius": "radius"})
    with pytest.raises(pg.PermGradError, match="unseen at fit time: - radius .* - mean radius"):
        fitted.predict(X)
    with (
        pytest.warns(UserWarning, match="feature names"),
        pytest.raises(pg.PermGradError, match="X has 3 features, but HybridClassifier is expecting 30"),
    ):
        fitted.predict(np.zeros((2, 3)))
    with pytest.raises(pg.PermGradError, match="labels not seen in training: 'borderline'"):
        fitted.rank_features(cancer[2].X, ["borderline"] * len(cancer[2]))


def test_unfitted(tmp_path):
    for call in (
        lambda model: model.predict(np.zeros((2, 2))),
        lambda model: model.rank_features(np.zeros((2, 2)), [0, 1]),
        lambda model: model.save(tmp_path / "m"),
    ):
        with pytest.raises(pg.UnfittedError, match="not fitted yet") as caught:
            call(pg.HybridClassifier())
        assert isinstance(caught.value, NotFittedError)
    assert list(tmp_path.iterdir()) == []


def test_existing_directory_is_kept(fitted, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(pg.PermGradError, match="exists already and is kept"):
        fitted.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_damaged_and_foreign_directories(fitted, tmp_path):
    with pytest.raises(pg.FileFormatError, match="cannot read"):
        pg.load(tmp_path / "absent")
    fitted.save(tmp_path / "m")
    settings = tmp_path / "m" / "estimator.json"
    whole = settings.read_text()
    network = (tmp_path / "m" / "network.keras").read_bytes()
    (tmp_path / "m" / "network.keras").write_bytes(network[:1000])
    with pytest.raises(pg.FileFormatError, match="is damaged"):
        pg.load(tmp_path / "m")
    for text, message in [
        (whole[:100], "is not a JSON file"),
        (json.dumps({**json.loads(whole), "class": "Popen"}), "unknown class 'Popen'"),
        (json.dumps({**json.loads(whole), "encoder": {}}), "is damaged"),
        (json.dumps({**json.loads(whole), "kind": "other"}), "got 'other'"),
    ]:
        settings.write_text(text)
        with pytest.raises(pg.FileFormatError, match=message):
            pg.load(tmp_path / "m")


@pytest.mark.slow
def test_images_are_what_the_image_branch_sees():
    """Ranks are drawn where the columns are scaled by rank, not the layout's own scaling."""
    rng = np.random.default_rng(0)
    X, y = rng.lognormal(sigma=2, size=(80, 4)).astype(np.float32), rng.integers(0, 2, 80)
    model = pg.HybridClassifier(**SMALL, scaling="quantile", epochs=1, random_state=0).fit(X, y)
    drawn = model.images(X)[:, model.layout_.rows, model.layout_.cols, 0]
    scaled = np.asarray(model.network_.get_layer("scale")(X))
    np.testing.assert_allclose(drawn, scaled, atol=1e-6)
    assert np.abs(drawn - model.layout_.scale(X)).max() > 0.1


@pytest.mark.slow
def test_odd_labels_and_names_are_right_or_one_clear_line(rng):
    X = pd.DataFrame(rng.normal(size=(40, 2)), columns=["a", 1])  # names of text and numbers
    y = pd.Series(np.arange(40) % 2)

    def fitted(labels, **columns):
        model = pg.HybridClassifier(preset="published", branches=("tabular",), dense_units=(4,), epochs=1)
        return model.fit(X.assign(**columns), labels)

    objects = y.astype(object)
    assert fitted(objects).score(X, objects) == fitted(y).score(X, y)
    for labels, columns, message in (
        (y.astype(object).where(y.index > 0, None), {}, "the target 'target' is missing in 1 of 40 rows"),
        (np.array([b"n", b"y"])[y], {}, "the target holds bytes; decode them"),
        (y, {"k": [[1]] * 40}, "column 'k' holds values of type 'list'"),
        (y, {"k": [b"1"] * 40}, "column 'k' holds values of type 'bytes'"),
        (y, {"k": 10 ** rng.uniform(-46, -42, 40)}, "the values of 'k' are below 1e-30"),
    ):
        with pytest.raises(pg.PermGradError, match=message):
            fitted(labels, **columns)
    decimal = X["a"].map(lambda value: Decimal(repr(value)))
    assert fitted(y, k=decimal).encoder_.numeric_ == ("a", "1", "k")


@pytest.mark.parametrize("size", [1e200, 1e-200])
def test_a_target_that_float32_cannot_hold_is_told_before_training(size, rng):
    with pytest.raises(pg.PermGradError, match="computes in float32 and needs at most 1e\\+15"):
        pg.HybridRegressor(epochs=1).fit(rng.normal(size=(40, 2)), rng.normal(size=40) * size)


def test_images_that_do_not_fit_into_memory_are_told_before_training(rng, monkeypatch):
    monkeypatch.setattr("permgrad.estimators._hybrid.free_memory", lambda: 10**9)
    with pytest.raises(pg.PermGradError, match="images of 800 × 800 pixels needs about .* GB of memory"):
        pg.HybridRegressor(epochs=1, image_size=800).fit(rng.normal(size=(40, 2)), rng.normal(size=40))


@pytest.mark.slow
def test_tables_as_people_have_them_are_fitted_ranked_saved_and_predicted(rng, tmp_path):
    """Text, dates and names of Arrow's tables: what `fit` takes, the saved estimator takes too, row by row."""
    spend, days = rng.gamma(2, 700, 80), rng.integers(0, 900, 80)
    frame = pd.DataFrame(
        {
            "id": [f"C{i}" for i in range(80)],
            "spend": [f"${value:,.2f}" for value in spend],
            "signup": (pd.Timestamp("2019-03-01") + pd.to_timedelta(days, "D")).strftime("%d/%m/%Y"),
            "flag": rng.choice(["Y", "N", "?"], 80),
            "flag=Y": rng.normal(size=80),
        }
    )
    y = np.where(spend > 1400, "yes", "no")
    X = pa.Table.from_pandas(frame)
    with pytest.warns(UserWarning, match="left out 'id': an identifier"):
        model = pg.HybridClassifier(**SMALL, branches=("tabular",), epochs=1, random_state=0).fit(X, y)
    ranking = model.rank_features(X, y, n_repeats=1, formula="fused")
    assert sorted(ranking.features) == sorted(frame.columns)
    assert ranking.unused == ("id",)
    model.save(tmp_path / "model")
    loaded = pg.load(tmp_path / "model")
    for rows in (X, frame):
        np.testing.assert_array_equal(loaded.predict_proba(rows), model.predict_proba(X))
    np.testing.assert_allclose(loaded.predict_proba(frame[7:8]), model.predict_proba(X)[7:8], atol=1e-6)
