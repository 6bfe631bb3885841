from __future__ import annotations

from dataclasses import replace

import cv2
import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

import permgrad as pg
from permgrad import plotting


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def assert_nothing_cut_off(figure: Figure) -> None:
    """Every text that is drawn must lie inside the picture."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    width, height = canvas.get_width_height()
    for text in figure.findobj(Text):
        hidden_tick = text in {t for axes in figure.axes for t in _labels_beyond_limits(axes)}
        if text.get_visible() and text.get_text() and not hidden_tick:
            box = text.get_window_extent(canvas.get_renderer())
            inside = box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height
            assert inside, f"{text.get_text()!r} at {box}"


def _labels_beyond_limits(axes) -> list[Text]:
    """Tick labels that matplotlib holds but does not draw."""
    found = []
    for axis, (low, high) in ((axes.xaxis, sorted(axes.get_xlim())), (axes.yaxis, sorted(axes.get_ylim()))):
        ticks = zip(axis.get_majorticklocs(), axis.get_majorticklabels(), strict=False)
        found += [label for place, label in ticks if not low <= place <= high]
    return found


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


def test_what_was_not_measured_has_no_bar(ranking):
    figure = replace(ranking, pending=("b", "d")).plot(top=3)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
        "c",
        "a rather long name of a column, longer th…",
    ]


def test_ranking_bars_are_stacked_to_the_score(ranking):
    figure = ranking.plot(top=3)
    axes = figure.axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["c", "a rather long name of a column, longer th…", "b"]
    no, yes = axes.containers
    np.testing.assert_allclose([bar.get_width() for bar in no], [0.0, 0.1, 0.5])
    np.testing.assert_allclose([bar.get_x() + bar.get_width() for bar in yes], [0.2, 0.4, 0.6])
    assert "PermGrad\nbranch weights: tabular 0.25, image 0.75" in texts(figure)
    assert_nothing_cut_off(figure)
    title, legend = axes.title.get_window_extent(), figure.legends[0].get_window_extent()
    assert title.x1 < legend.x0


def test_negative_class_scores_are_not_stacked():
    ranking = pg.FeatureRanking(("a",), [0.1], class_scores=[[0.5, -0.49]], classes=("no", "yes"))
    (bars,) = ranking.plot().axes[0].containers
    assert [bar.get_width() for bar in bars] == [0.1]


def test_scores_have_error_bars(ranking):
    figure = plotting.plot_scores(ranking)
    segments = figure.axes[0].containers[0].lines[2][0].get_segments()
    widths = sorted(segment[1][0] - segment[0][0] for segment in segments)
    np.testing.assert_allclose(widths, 0.1)
    assert_nothing_cut_off(figure)


@pytest.mark.parametrize("n", [1, 4, 100])
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
    names = [f"a long class name {i}" for i in range(6)]
    y = rng.choice(names, 60)
    values = rng.normal(size=50)
    for figure in (
        curves,
        plotting.plot_confusion(y, y, names),
        plotting.plot_predictions(values, values + 1, "price"),
        plotting.plot_sample(rng.random((8, 8, 1)), rng.random((4, 4)), "row 0"),
    ):
        assert_nothing_cut_off(figure)


def test_no_figure_is_left_open(ranking):
    before = mpl.pyplot.get_fignums()
    ranking.plot()
    assert mpl.pyplot.get_fignums() == before
