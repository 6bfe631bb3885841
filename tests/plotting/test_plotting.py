from __future__ import annotations

import itertools
from dataclasses import replace

import cv2
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.text import Text

import permgrad as pg
from permgrad import plotting
from permgrad.models.hybrid import HybridConfig, build_hybrid
from tests.referees import evaluation as hand_made


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def assert_nothing_cut_off(figure: Figure) -> None:
    """Every text that is drawn must lie inside the picture."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    width, height = canvas.get_width_height()
    hidden_ticks = {text for axes in figure.axes for text in _labels_beyond_limits(axes)}
    for text in figure.findobj(Text):
        if text.get_visible() and text.get_text() and text not in hidden_ticks:
            box = text.get_window_extent(canvas.get_renderer())
            inside = box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height
            assert inside, f"{text.get_text()!r} at {box}"


def assert_no_text_on_another(figure: Figure) -> None:
    """Texts that are not turned must not share more than a pixel or two."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    hidden = {text for axes in figure.axes for text in _labels_beyond_limits(axes)}
    shown = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text() and text not in hidden]
    boxes = [(text.get_text(), text.get_window_extent(canvas.get_renderer())) for text in shown]
    for (one, a), (other, b) in itertools.combinations(boxes, 2):
        wide, high = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        assert min(wide, high) < 2, f"{one!r} and {other!r}"


def _labels_beyond_limits(axes) -> list[Text]:
    """Tick labels that matplotlib holds but does not draw."""
    labels = []
    for axis, (low, high) in ((axes.xaxis, sorted(axes.get_xlim())), (axes.yaxis, sorted(axes.get_ylim()))):
        ticks = zip(axis.get_majorticklocs(), axis.get_majorticklabels(), strict=False)
        labels += [label for place, label in ticks if not low <= place <= high]
    return labels


@pytest.fixture
def ranking() -> pg.FeatureRanking:
    scores = np.array([[0.1, 0.3], [0.5, 0.1], [0.0, 0.2], [0.1, 0.1]])
    return pg.FeatureRanking(
        ("a rather long name of a column, longer than anyone can read", "b", "c", "d"),
        scores.sum(axis=1),
        std=np.full(4, 0.05),
        class_scores=scores,
        classes=("no", "yes"),
        method="permgrad",
        branch_weights={"tabular": 0.25, "image": 0.75},
    )


@pytest.fixture
def evaluation():
    return hand_made()


def test_what_was_not_measured_has_no_bar(ranking):
    figure = replace(ranking, pending=("b", "d")).plot(top=3)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
        "c",
        "a rather long name of a colu…yone can read",
    ]


def test_ranking_bars_are_stacked_to_the_score(ranking):
    figure = ranking.plot(top=3)
    axes = figure.axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["c", "a rather long name of a colu…yone can read", "b"]
    no, yes = axes.containers
    np.testing.assert_allclose([bar.get_width() for bar in no], [0.0, 0.1, 0.5])
    np.testing.assert_allclose([bar.get_x() + bar.get_width() for bar in yes], [0.2, 0.4, 0.6])
    assert "PermGrad\nbranch weights: tabular 0.25, image 0.75" in texts(figure)
    assert_nothing_cut_off(figure)
    title, legend = axes.title.get_window_extent(), figure.legends[0].get_window_extent()
    assert title.x1 < legend.x0


def long_ranking(n: int, method: str, classes: tuple[str, ...] | None = None) -> pg.FeatureRanking:
    """Names that are alike but for their ends; the last two are probes."""
    names = tuple(f"a rather long name of a column that nobody can read in full, number {i}" for i in range(n))
    scores = np.linspace(0.3, 0.001, n)
    parts = None if classes is None else np.outer(scores, np.full(len(classes), 1 / len(classes)))
    ends = {"low": scores - 0.05, "high": scores + 0.05}
    places = {"rank_low": np.maximum(1, np.arange(n) - 2), "rank_high": np.minimum(n, np.arange(n) + 3)}
    settings = {"probes": list(names[-2:])}
    return pg.FeatureRanking(
        names, scores, class_scores=parts, classes=classes, method=method, settings=settings, **ends, **places
    )


@pytest.mark.parametrize("width", [5.6, 8.0])
@pytest.mark.parametrize(
    ("n", "method", "classes"),
    [
        (6, "end_to_end", ("healthy controls of the second visit", "patients")),
        (6, "shapley", tuple(f"class {i}" for i in range(26))),
        (20, "conditional", None),
    ],
)
def test_long_names_and_many_classes_are_legible(n, method, classes, width):
    ranking = long_ranking(n, method, classes)
    for figure in (plotting.plot_ranking(ranking, n, width), plotting.plot_scores(ranking, n, width)):
        assert_nothing_cut_off(figure)
        assert_no_text_on_another(figure)
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len(set(names)) == n


def test_long_names_of_two_rankings_are_legible():
    names = ("a very long name of the first directory", "a very long name of the second directory")
    figure = long_ranking(6, "shapley").compare(long_ranking(6, "shapley"), names).plot()
    assert_nothing_cut_off(figure)
    assert_no_text_on_another(figure)


def test_a_rows_image_numbers_its_pixels_and_has_a_key():
    """A label beside its pixel would cover others; two features may share one."""
    layout = pg.FeatureLayout(
        tuple("abc"), np.array([1, 3, 1]), np.array([2, 0, 2]), (4, 4), np.zeros(3), np.ones(3), "own"
    )
    long = "a rather long name of a column that nobody can read in full = 0.2267 (+0.00023)"
    labels = [(0, f"a: {long}"), (1, f"b: {long}"), (2, "c = 1")]
    figure = plotting.plot_row_image(np.zeros((4, 4)), layout, np.array([1.0, 2.0, -1.0]), labels, unit="log-odds")
    assert_nothing_cut_off(figure)
    assert_no_text_on_another(figure)
    places = {text.get_text(): text.get_position() for text in figure.axes[1].texts}
    assert places == {"1,3": (2, 1), "2": (0, 3)}
    key = " ".join(figure.axes[1].get_xlabel().split())
    assert key == f"1 {labels[0][1]} 2 {labels[1][1]} 3 c = 1"


def test_negative_class_scores_are_not_stacked():
    ranking = pg.FeatureRanking(("a",), [0.1], class_scores=[[0.5, -0.49]], classes=("no", "yes"))
    (bars,) = ranking.plot().axes[0].containers
    assert [bar.get_width() for bar in bars] == [0.1]


def whiskers(figure: Figure) -> list[tuple[float, float]]:
    """Both ends of each whisker, from the lowest bar up."""
    (bars,) = (each for each in figure.axes[0].containers if isinstance(each, ErrorbarContainer))
    return [(segment[0][0], segment[1][0]) for segment in bars.lines[2][0].get_segments()]


def test_scores_have_error_bars(ranking):
    """Scores 0.2, 0.2, 0.4, 0.6 (from the lowest bar up), one standard deviation of 0.05 to each side."""
    figure = plotting.plot_scores(ranking)
    expected = np.array([0.2, 0.2, 0.4, 0.6])[:, None] + [-0.05, 0.05]
    np.testing.assert_allclose(whiskers(figure), expected)
    assert "PermGrad score (mean ± sd over repeats)" in texts(figure)
    assert_nothing_cut_off(figure)


@pytest.mark.parametrize("plot", [plotting.plot_ranking, plotting.plot_scores])
def test_an_interval_is_drawn_from_end_to_end(plot, ranking):
    """Rather than the standard deviation; it need not lie evenly around the score."""
    ends = {"low": ranking.scores - 0.02, "high": ranking.scores + 0.1}
    known = pg.FeatureRanking(ranking.features, ranking.scores, std=ranking.std, method="permutation", **ends)
    figure = plot(known, top=3)
    expected = np.array([0.2, 0.4, 0.6])[:, None] + [-0.02, 0.1]
    np.testing.assert_allclose(whiskers(figure), expected)
    assert "loss increase when permuted (95 % interval)" in texts(figure)
    assert_nothing_cut_off(figure)


def test_a_narrow_picture_has_its_legend_below(ranking):
    figure = plotting.plot_ranking(ranking, width=5.6)
    assert_nothing_cut_off(figure)
    assert figure.legends[0].get_window_extent().y1 < figure.axes[0].get_window_extent().y0


def test_names_are_no_formulas():
    """Between two dollars, matplotlib would read TeX, and fail."""
    ranking = pg.FeatureRanking(
        (r"$\frac$", "b"), [1.0, 2.0], class_scores=[[0.5, 0.5], [1, 1]], classes=("$_$", "$^$"), method="$_$"
    )
    layout = pg.FeatureLayout((r"$\frac$",), np.array([0]), np.array([1]), (2, 2), np.zeros(1), np.ones(1), "by hand")
    for figure in (
        plotting.plot_ranking(ranking),
        plotting.plot_scores(ranking),
        plotting.plot_layout(layout),
    ):
        assert_nothing_cut_off(figure)


@pytest.mark.parametrize("n", [1, 40])
def test_layout_names_every_feature(n, rng):
    layout = pg.fit_layout(rng.normal(size=(30, n)))
    figure = plotting.plot_layout(layout)
    key = [text.split(" ", 1)[1] for text in texts(figure) if " x" in text]
    assert sorted(key) == sorted(layout.features)
    assert_nothing_cut_off(figure)


def test_features_on_one_pixel_share_a_number():
    layout = pg.FeatureLayout(
        ("a", "b", "c"), np.array([0, 0, 1]), np.array([1, 1, 0]), (2, 2), np.zeros(3), np.ones(3), "by hand"
    )
    shown = texts(plotting.plot_layout(layout))
    assert "1 a + b" in shown
    assert "2 c" in shown


def test_wide_layout_has_no_key(rng):
    figure = plotting.plot_layout(pg.fit_layout(rng.normal(size=(10, 300))))
    assert not figure.legends


def test_overlay_by_hand():
    """40 % of the jet colour of the heat and 60 % of the grey value, pixel by pixel."""
    image, heat = np.array([[0.0, 1.0], [0.5, 0.0]]), np.array([[0.0, 1.0], [0.0, 1.0]])
    drawn = plotting.overlay(image, heat)
    assert drawn.shape == (400, 400, 3)
    cold, hot = cv2.applyColorMap(np.array([[0, 255]], np.uint8), cv2.COLORMAP_JET)[0, :, ::-1].astype(float)
    np.testing.assert_allclose(drawn[0, 0], 0.4 * cold, atol=1)
    np.testing.assert_allclose(drawn[0, -1], 0.4 * hot + 0.6 * 255, atol=1)
    np.testing.assert_allclose(drawn[-1, 0], 0.4 * cold + 0.6 * 127, atol=1)


def test_other_pictures_are_whole(rng):
    history = {
        "loss": [3.0, 2.0, 1.5],
        "val_loss": [3.0, 1.0, 2.0],
        "accuracy": [0.1, 0.2, 0.3],
        "learning_rate": [1, 2, 3],
    }
    curves = plotting.plot_history(history, 2)
    assert "kept (epoch 2)" in texts(curves)
    names = [*(f"a long class name {i}" for i in range(5)), r"$\frac$"]
    y = rng.choice(names, 60)
    values = rng.normal(size=50)
    for figure in (
        curves,
        plotting.plot_confusion(y, y, names),
        plotting.plot_predictions(values, values + 1, "$_$"),
        plotting.plot_sample(rng.random((8, 8, 1)), rng.random((4, 4)), "$_$"),
    ):
        assert_nothing_cut_off(figure)


def lines(axes) -> dict[tuple[str, str], list[float]]:
    """Colour and style of each line that has points → its heights."""
    return {(line.get_color(), line.get_linestyle()): list(line.get_ydata()) for line in axes.lines}


def test_curves_by_hand(evaluation):
    """Two replacements, two rankings, two orders; points come sorted, insertion is not drawn."""
    figure = plotting.plot_curves(evaluation)
    blue, orange = plotting.style.colours(2)[:2]
    mean, marginal = (
        next(axes for axes in figure.axes if axes.get_title().endswith(way)) for way in ("mean", "marginal")
    )
    assert lines(marginal)[blue, "-"] == [0.1, 0.5, 1.0]
    assert lines(marginal)[orange, "--"] == [0.1, 0.3, 1.0]
    assert lines(mean)[blue, "-"] == [0.1, 0.6, 1.0]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["PermGrad", "Random forest", "most relevant first", "least relevant first"]
    assert marginal.lines[0].get_linewidth() > marginal.lines[-1].get_linewidth()
    assert_nothing_cut_off(figure)


def test_retraining_and_sanity_by_hand(evaluation):
    blue, orange = plotting.style.colours(2)[:2]
    retraining = plotting.plot_retraining(evaluation)
    assert lines(retraining.axes[0]) == {(blue, "-"): [0.9, 0.6], (orange, "-"): [0.9, 0.7]}
    sanity = plotting.plot_sanity(evaluation)
    ticks = [label.get_text() for label in sanity.axes[0].get_xticklabels()]
    assert ticks == ["trained", "1", "shuffled\nlabels"]
    drawn = [(list(line.get_xdata()), list(line.get_ydata())) for line in sanity.axes[0].lines[:2]]
    assert drawn == [([0, 1], [1.0, 0.2]), ([2], [-0.1])]
    assert_nothing_cut_off(retraining)
    assert_nothing_cut_off(sanity)


def test_agreement_and_stability_by_hand(evaluation):
    agreement = plotting.plot_agreement(evaluation.agreement)
    assert {"1.00", "0.25", "–", "PermGrad", "Random forest"} <= set(texts(agreement))
    stability = plotting.plot_stability(evaluation.stability)
    seeds, rows = stability.axes
    interval, index, spearman = seeds.lines[:3]
    stable = evaluation.stability["seeds"]["permgrad"]
    assert list(interval.get_xdata()) == list(stable.nogueira_interval)
    assert (list(index.get_xdata()), list(spearman.get_xdata())) == ([stable.nogueira], [stable.spearman])
    assert rows.get_title() == "bootstrap rows"
    assert_nothing_cut_off(agreement)
    assert_nothing_cut_off(stability)


def test_no_figure_is_left_open(ranking):
    before = mpl.pyplot.get_fignums()
    ranking.plot()
    assert mpl.pyplot.get_fignums() == before


def test_epoch_scores_and_their_band_by_hand():
    table = pd.DataFrame(
        {
            "epoch": [1, 1, 2, 2],
            "rows": ["train", "validation"] * 2,
            "score": "recall[sick]",
            "value": [0.5, 0.4, 0.7, 0.6],
            "spread": [0.0, 0.0, 0.1, 0.2],
        }
    )
    figure = plotting.plot_epoch_scores(table, title="a pool")
    axes = figure.axes[0]
    assert [list(line.get_ydata()) for line in axes.lines] == [[0.5, 0.7], [0.4, 0.6]]
    band = axes.collections[1].get_paths()[0].vertices
    assert band[band[:, 0] == 2][:, 1].min() == pytest.approx(0.4)
    assert band[band[:, 0] == 2][:, 1].max() == pytest.approx(0.8)
    assert {"train", "validation", "recall[sick]"} <= set(texts(figure))
    assert_nothing_cut_off(figure)


def test_comparison_by_hand():
    summary = pd.DataFrame({"model": ["a", "b"], "mean": [0.9, 0.8], "low": [0.85, 0.7], "high": [0.95, 0.9]})
    figure = plotting.plot_comparison({"accuracy": summary, "auc": summary})
    assert len(figure.axes) == 2
    assert list(figure.axes[0].lines[0].get_xdata()) == [0.9, 0.8]
    assert figure.axes[0].collections[0].get_segments()[1].tolist() == [[0.7, 1], [0.9, 1]]
    assert_nothing_cut_off(figure)


def test_a_network_is_drawn_branch_by_branch(random_hybrid):
    """Layers, sizes and the width where branches meet by hand: 8 of the MLP, 8 filters on 2 × 2 pixels of the CNN."""
    boxes = plotting.network_boxes(pg.cut_model(random_hybrid("classification", 2)))
    assert boxes["tabular"][-1] == ["Dense 8", "BatchNormalization", "Dropout 0.2"]
    assert ["Conv2D 4  (8 × 8 × 4)", "BatchNormalization", "MaxPooling2D", "Dropout 0.2"] in boxes["image"]
    assert boxes["head"][0] == [f"Concatenate  ({8 + 8 * 2 * 2})"]
    assert boxes["head"][-2:] == [["Dense 2"], ["Softmax"]]
    figure = plotting.plot_network(boxes)
    assert {"tabular branch", "image branch"} <= set(texts(figure))
    assert_nothing_cut_off(figure)
    alone = pg.cut_model(build_hybrid(HybridConfig(branches=("tabular",)), 3, 2, task="classification"))
    assert list(plotting.network_boxes(alone)) == ["tabular"]
    assert_nothing_cut_off(plotting.plot_network(alone))


@pytest.fixture
def some_patches(rng) -> np.ndarray:
    return rng.integers(0, 256, (5, 24, 24, 3)).astype(np.uint8)


def test_overlay_of_a_colour_image(some_patches):
    """Where there is no heat, the image shines through, in its own colours, beside jet's blue."""
    heat = np.zeros((24, 24), np.float32)
    mixed = plotting.overlay(some_patches[0], heat)
    scale = mixed.shape[0] // 24
    blue = np.array(mpl.colormaps["jet"](0.0)[:3]) * 255
    expected = 0.6 * some_patches[0] + 0.4 * blue
    np.testing.assert_allclose(mixed[scale // 2 :: scale, scale // 2 :: scale], expected, atol=3)


def test_classes_and_pixels():
    classes = pd.DataFrame({"label": [0, 1], "patches": [1500, 500], "share": [0.75, 0.25]})
    figure = plotting.plot_classes(classes)
    assert_nothing_cut_off(figure)
    assert {"1,500 (75.0%)", "500 (25.0%)", "negative", "positive"} <= set(texts(figure))
    pixels = np.zeros((2, 3, 256), int)
    pixels[0, 1, 7] = 3
    pixels[:, :, 100] += 1
    figure = plotting.plot_pixels(pixels, ("no", "yes"))
    negative = next(line for line in figure.axes[1].lines if line.get_label() == "no")
    assert negative.get_ydata()[7] == 0.75
    assert {"red", "green", "blue", "value", "share of pixels"} <= set(texts(figure))


def test_patches_in_a_grid(some_patches):
    figure = plotting.plot_patches(some_patches, [f"patch {i} $a$" for i in range(5)], columns=3)
    shown = [axes for axes in figure.axes if axes.images]
    assert len(shown) == 5
    np.testing.assert_array_equal(shown[3].images[0].get_array(), some_patches[3])
    assert r"patch 4 \$a\$" in texts(figure)
    assert_nothing_cut_off(figure)


def test_heat_beside_patches(some_patches):
    heat = np.zeros((5, 24, 24), np.float32)
    heat[1, 3, 3] = 1
    lines = {"surest": [0, 1], "most mistaken": [4], "most doubtful": []}
    figure = plotting.plot_heat(some_patches, heat, [f"{i / 10:.1f}" for i in range(5)], lines)
    assert {"surest", "most mistaken", "0.0", "0.1", "0.4", "Grad-CAM"} <= set(texts(figure))
    assert texts(figure).count("no heat") == 2  # of patches 0 and 4
    assert texts(figure).count("none") == 1
    assert_nothing_cut_off(figure)


def test_precision_is_drawn_against_recall_with_its_average():
    y, scores = {"$a$": np.array([0, 0, 1, 1])}, {"$a$": np.array([0.1, 0.4, 0.35, 0.8])}
    figure = plotting.plot_precision_recall(y, scores)
    axes = figure.axes[0]
    assert axes.get_legend().get_texts()[0].get_text() == r"\$a\$: 0.833"  # (1 + 2/3) / 2
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [0.5, 2 / 3, 0.5, 1, 1])


def test_roc_curves(rng):
    y = np.repeat([0, 1], 20)
    figure = plotting.plot_roc({"good": y, "poor": y}, {"good": y, "poor": rng.random(40)}, {"good": 1.0, "poor": 0.5})
    good = figure.axes[0].lines[0]
    assert (0.0, 1.0) in list(zip(good.get_xdata(), good.get_ydata(), strict=True))
    assert {"good: 1.000", "poor: 0.500"} <= set(texts(figure))
    assert_nothing_cut_off(figure)


def test_learning_and_areas():
    history = pd.DataFrame({"epoch": [1, 2], "loss": [0.7, 0.5], "val_auc": [0.6, 0.9], "learning_rate": [1e-3, 1e-4]})
    figure = plotting.plot_learning({"first": history, "second": history.iloc[:1]})
    assert figure.axes[1].lines[0].get_ydata().tolist() == [0.6, 0.9]
    assert_nothing_cut_off(figure)
    table = pd.DataFrame({"name": ["a", "b"], "auc": [0.9, 0.6], "low": [0.85, 0.4], "high": [0.93, 0.7]})
    figure = plotting.plot_areas(table)
    bars = figure.axes[0].patches
    assert [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in bars] == [(0.5, 0.9), (0.5, pytest.approx(0.6))]
    assert figure.axes[0].get_xlim() == (0.4, 1.0)
    assert_nothing_cut_off(figure)


def test_reliability_is_drawn_with_its_intervals():
    curve = pd.DataFrame({"predicted": [0.2, 0.8], "share": [0.3, 1.0], "low": [0.1, 0.7], "high": [0.5, 1.0]})
    figure = plotting.plot_reliability(curve.assign(rows=[11, 10]), "$yes$")
    axes = figure.axes[0]
    (points,) = (each for each in axes.containers if isinstance(each, ErrorbarContainer))
    np.testing.assert_allclose(np.column_stack(points.lines[0].get_data()).astype(float), [[0.2, 0.3], [0.8, 1.0]])
    ends = [(segment[0][1], segment[1][1]) for segment in points.lines[2][0].get_segments()]
    np.testing.assert_allclose(ends, [[0.1, 0.5], [0.7, 1.0]])
    assert {"test rows, 10 to 11 a point", r"probability of \$yes\$"} <= set(texts(figure))
    assert_nothing_cut_off(figure)


def test_residuals_are_true_less_predicted():
    predicted = np.array([1.0, 2.0, 4.0])
    figure = plotting.plot_residuals([2.0, 2.0, 1.0], predicted, "price")
    scatter, histogram = figure.axes
    np.testing.assert_allclose(scatter.collections[0].get_offsets(), [[1, 1], [2, 0], [4, -3]])
    assert sum(bar.get_height() * bar.get_width() for bar in histogram.patches) == pytest.approx(1)
    assert_nothing_cut_off(figure)
    assert len(plotting.plot_residuals(predicted, predicted).axes[1].lines) == 0  # no spread, no normal curve
