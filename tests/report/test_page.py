"""The page as a reader gets it: its text, what it refers to, and how a real browser shows it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import permgrad as pg
from permgrad.files import read_json
from permgrad.report.directory import write_results
from permgrad.report.page import _content as content
from permgrad.report.page._by_level import by_charts, by_values
from permgrad.report.page._checkup import bars
from permgrad.report.page._render import FILE, KIND, draw_again, render
from permgrad.report.page._tables import cells, number, percent, probability, ranking_cells
from permgrad.report.page._values import MAX_ROWS, _caption, _data, _origin
from permgrad.report.results import Results
from tests.conftest import SMALL
from tests.referees import evaluation
from tests.report.conftest import SCRIPT, Reader, levels


@pytest.mark.slow
def test_what_comes_with_the_data_is_text_and_no_markup(report):
    page = report.page
    read = Reader(page)
    assert {"b", "i", "u"}.isdisjoint(tag for tag, _ in read.tags)
    assert [attributes.get("type") for tag, attributes in read.tags if tag == "script"] == [
        "application/json",
        None,
        None,
    ]
    known = json.loads(read.scripts[0])
    assert SCRIPT in {column["name"] for column in known["columns"]}
    assert "<" not in read.scripts[0]
    for text in (
        SCRIPT,
        "A <b>bold</b> title",
        "<i>yes</i>",
        "<u>mine</u>",
        "out</h1>come",
        "permgrad rank 'a & b.csv'",
    ):
        assert text in read.text
    alts = [attributes["alt"] for tag, attributes in read.tags if tag == "img"]
    assert any(SCRIPT in alt for alt in alts)


def test_the_tables_check_up_stands_on_the_page(report):
    read = Reader(report.page)
    check = report.results.table.check(random_state=7)
    assert check.findings
    for said in (*(found.text for found in check.findings), *report.results.table.said):
        assert said in read.text
    charts = [attributes for tag, attributes in read.tags if tag == "svg"]
    assert len(charts) == sum(bool(counts) for counts in check.histograms.values()) == 5
    rects = [attributes for tag, attributes in read.tags if tag == "rect"]
    assert len(rects) == sum(count > 0 for counts in check.histograms.values() for count in counts)
    assert all(float(rect["y"]) + float(rect["height"]) == pytest.approx(20) for rect in rects)


def test_a_bars_height_is_its_bins_share_of_the_fullest():
    assert bars((4, 0, 1)) == ((0, 0.0, 4, 20.0), (10, 15.0, 4, 5.0))
    assert bars((1000, 1))[1] == (5, 19.0, 4, 1.0)  # the smallest is seen
    assert bars(()) == ()


def test_the_page_needs_nothing_but_itself(report):
    page = report.page
    for tag, attributes in Reader(page).tags:
        assert tag not in ("iframe", "object", "embed")
        assert not any(name.startswith("on") for name in attributes)
        if "src" in attributes:
            assert attributes["src"].startswith("data:image/")
        if "href" in attributes:
            assert attributes["href"].startswith(("#", "data:")), "notes' homepage is no web address here"
    outside = re.sub(r"<script.*?</script>", "", page, flags=re.S)
    assert not re.search(r"@import|url\(", outside)


def test_nothing_runs_in_the_page_but_its_own_two_scripts(report):
    read = Reader(report.page)
    (policy,) = [attributes["content"] for tag, attributes in read.tags if attributes.get("http-equiv")]
    hashes = [base64.b64encode(hashlib.sha256(source.encode()).digest()).decode() for source in read.scripts[1:]]
    assert len(hashes) == 2
    assert policy.startswith("default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:;")
    assert policy.endswith("script-src " + " ".join(f"'sha256-{each}'" for each in hashes))
    assert "unsafe-eval" not in policy


def test_the_page_is_drawn_again_without_table_and_network(report):
    assert draw_again(report.path.parent) == report.page


def test_the_page_s_pictures_are_files_that_page_json_names(report, tmp_path):
    kept, here = (report.path.parent / FILE).read_text(), report.path.parent
    names = json.loads(kept)["pictures"]
    assert {"ranking", "roc", "effects", "row_lowest", "row_highest", "by", "curves"} <= set(names)
    for name in names:
        inside = base64.b64encode((here / f"{name}.png").read_bytes()).decode()
        assert inside in report.page
        assert inside not in kept
    (tmp_path / FILE).write_text(kept)
    with pytest.raises(pg.PermGradError, match=r"the page shows .*\.png, which cannot be read: No such file"):
        draw_again(tmp_path)


def test_each_level_is_on_the_page(report, wide):
    text = Reader(report.page).text
    assert "By <i>site</i>" in text
    assert (
        "The log loss differs by more than noise: 0.3 in <b>a</b> and 0.7 in b (a difference of 0.2586 to 0.5414)."
        in text
    )
    assert f"What a column is worth differs by more than noise: {SCRIPT} (0.4 in <b>a</b>, 0 in b)." in text
    assert "Too few rows to tell: few (12). Levels under 30 rows are not compared." in text
    _, *rows = rows_of(report.page, "Scores in each level, on its test rows")
    assert rows[1] == ["<b>a</b>", "50", "0.900", "0.800 to 1.000", "0.300", "0.200 to 0.400", ""]
    assert rows[3][-1] == "few rows"
    header, *rows = rows_of(
        report.page, "What columns save of the loss in each level, and in brackets their place there"
    )
    assert header == ["column", "(all rows)", "<b>a</b>", "b"]
    assert rows == [
        [SCRIPT, "0.2000 (1)", "0.4000 (1)", "0.0000"],
        ["other", "0.1000 (2)", "0.1000 (2)", "0.1000 (1)"],
    ]
    assert 'id="by"' not in wide[1]


def test_words_of_levels_that_do_not_differ():
    known = levels()
    even = replace(known, table=known.table.assign(log_loss=0.5, log_loss_low=0.4, log_loss_high=0.6))
    said = by_values(replace(even, importance=even.importance.assign(score=0.1, low=0.0, high=0.2)))["said"]
    assert said[0] == "No two levels differ in log loss by more than noise."
    assert said[1] == "No column is worth more in one level than in another by more than noise."
    few = by_values(replace(known, table=known.table.assign(few=True)))["said"]
    assert few[0] == "Fewer than two levels have 30 test rows: no difference can be told from noise."
    assert by_values(replace(known, by="x" * 60))["tab"] == f"By {'x' * 19}…"


def test_charts_of_levels_hold_their_numbers():
    found = by_charts(levels())
    assert list(found) == ["by_measure_0", "by_measure_1", "by_columns"]
    loss = {row["level"]: (row["value"], row["few"]) for row in found["by_measure_1"]["data"]["values"]}
    assert loss == {
        "(all rows) (112)": (0.5, False),
        "<b>a</b> (50)": (0.3, False),
        "b (50)": (0.7, False),
        "few (12)": (0.9, True),
    }
    scores = [(row["column"], row["level"], row["score"]) for row in found["by_columns"]["data"]["values"]]
    assert scores[:3] == [(SCRIPT, "(all rows)", 0.2), (SCRIPT, "<b>a</b>", 0.4), (SCRIPT, "b", 0.0)]


def test_a_homepage_on_the_web_is_a_link():
    from permgrad.report.page._values import _link

    assert _link("https://example.org/a") == "https://example.org/a"
    assert _link("javascript:alert(1)") is None
    assert _link(None) is None


def rows_of(page: str, caption: str) -> list[list[str]]:
    """Return the cells of the table with this caption."""
    body = page.split(f"<caption>{caption}</caption>")[1].split("</table>")[0]
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S) for row in body.split("<tr>")[1:]]
    return [["".join(Reader(cell).words) for cell in row] for row in rows]


PARTS = ("first_in", "tabular", "end_to_end")


def test_numbers_on_the_page_are_the_rankings(report):
    ranking, page = report.ranking, report.page
    header, *rows = rows_of(page, "The 5 columns, best first")
    parts = ["First in", "Tabular", "Last in"]
    assert header[:4] == ["#", "column", "score", "95 % interval"]
    assert [row[1] for row in rows] == ranking.table["feature"].tolist()
    places = {"score": 2, **{name: header.index(part) for name, part in zip(PARTS, parts, strict=True)}}
    for name, at in places.items():
        shown = [float(row[at].replace("−", "-")) for row in rows]
        largest = ranking.table[name].abs().max()
        np.testing.assert_allclose(shown, ranking.table[name], atol=0.51e-3 * largest)
    for row, low, high in zip(rows, ranking.table["low"], ranking.table["high"], strict=True):
        ends = [float(end) for end in row[3].replace("−", "-").split(" to ")]
        np.testing.assert_allclose(ends, [low, high], atol=0.51e-3 * ranking.table["high"].max())
    for row in rows_of(page, "On 24 test rows, which were not used for fitting")[1:]:
        name = next(key for key, label in content.SCORE_NAMES.items() if label == row[0])
        assert row[1] == number(ranking.settings["test_scores"][name])
    assert '<strong class="value">0.4375</strong>' in page
    assert "order the columns differently" in page


def test_the_data_and_the_way_back_are_named(report, table):
    ranking, page = report.ranking, report.page
    text = Reader(page).text
    assert table.sha256 in text
    assert "3 in 1 of the columns (cost in $ per $: 3)" in text
    assert "120: 96 to train and validate, 24 to test (split with random state 7)" in text
    assert "they rank last: same." in text
    assert "table.split(random_state=7)" in text
    assert "pg.HybridClassifier(" in text
    assert "epochs=2" in text
    assert "model.rank_features(test, n_repeats=2)" in text
    assert f"permgrad {ranking.settings['versions']['permgrad']}" in text


def test_python_calls_are_those_that_were_made(report):
    """The source on the page builds an equal estimator."""
    page = report.page
    source = next(line for line in "".join(Reader(page).words).splitlines() if line.startswith("model = pg."))
    call = re.fullmatch(r"model = pg\.HybridClassifier\((.*)\)", source)
    assert call is not None
    for name, value in {**SMALL, "epochs": 2, "random_state": 3}.items():
        assert f"{name}={value!r}" in call[1]
    assert "dropout" not in call[1]


def test_what_the_referee_found_is_on_the_page(report):
    page = report.page
    _, *rows = rows_of(page, "Rankings, best first")
    assert [row[:3] for row in rows] == [["PermGrad", "0.3000", "0.4000"], ["Random forest", "0.1000", "0.6000"]]
    text = Reader(page).text
    lost = "deletion (mean): permgrad 0.4 ± 0.01, behind random_forest 0.6 ± 0.01"
    assert f"Where another ranking is better {lost}" in text
    assert "The time limit left out: retrain: share 0.7." in text
    stable = evaluation().stability["seeds"]["permgrad"]
    low, high = stable.nogueira_interval
    assert rows_of(page, "Stability over trainings; 1: always the same")[1][:4] == [
        "seeds",
        "PermGrad",
        f"{stable.nogueira:.4f}",
        f"{low:.2f} to {high:.2f}",
    ]


def test_the_pictures_are_in_the_directory_too(report):
    names = {path.name for path in report.path.parent.iterdir()}
    assert "reliability.png" in names
    assert {"curves.png", "retraining.png", "sanity.png", "agreement.png", "stability.png", "sample.png"} <= names


def test_a_wide_table_stays_small(wide):
    ranking, page = wide
    assert len(page) < 2_500_000
    _, *rows = rows_of(page, f"The best {MAX_ROWS} columns")
    assert [row[1] for row in rows] == [ranking.features[i] for i in ranking.order[:MAX_ROWS]]
    assert "30 more rows are not shown" in page
    assert "What the image branch sees" not in page


def test_a_network_that_learned_nothing_is_called_so(wide):
    ranking, page = wide
    assert ranking.settings["test_scores"]["r2"] <= 0
    assert "is no better. The network has learned nothing useful" in page
    said = "predictions are not shown to beat the mean: on these 12 rows"
    assert 0 < page.index(said) < page.index("It relies most on")
    assert "branch weights" not in page


def test_a_better_model_is_named_before_any_order(report):
    models, text = report.results.models, Reader(report.page).text
    assert models.beaten_by == "LogisticRegression"  # of a network of two epochs
    assert 0 < text.index(models.verdict) < text.index("It relies most on")
    _, *rows = rows_of(report.page, "Fitted on the same 72 rows, scored on the same 24 test rows")
    assert [row[0] for row in rows] == ["HybridClassifier", "LogisticRegression", "HistGradientBoosting"]
    np.testing.assert_allclose([float(row[3]) for row in rows], models.table["log_loss"], atol=1e-3)
    kept = pg.ReferenceModels.load(report.path.parent / "reference_models.json")
    assert kept.verdict == models.verdict == report.ranking.settings["verdict"]


def test_a_network_that_no_model_beats_is_said_to_be_so(report):
    table = report.results.models.table.assign(p=0.5)
    even = replace(report.results, models=replace(report.results.models, table=table)).with_settings()
    kept = read_json(report.path.parent / FILE, kind=KIND)
    page = render({**kept, **_data(even), **_origin(even)}, report.path.parent)
    assert 0 < page.index("No reference model predicts these test rows better") < page.index("It relies most on")
    assert "the ranking explains a weaker model" not in page


def test_calibration_is_on_the_page(report):
    known = report.ranking.settings["calibration"]
    results = report.results
    expected = pg.expected_calibration_error(results.class_numbers, results.estimator.predict_proba(results.test.X))
    assert known["ece"] == pytest.approx(expected)
    assert f"Calibration error: {percent(expected, 1)}" in report.page
    assert "Reliability, in test rows" in report.page


class WithIntervals:
    """A regressor whose intervals hold the lower half of the target."""

    def __init__(self, y, able=True):
        self.y, self.able = y, able

    def predict_interval(self, X, coverage):
        assert coverage == 0.9
        if not self.able:
            raise pg.PermGradError("no rows were set apart for intervals")
        return np.column_stack([np.full(len(X), -np.inf), np.full(len(X), np.median(self.y))])


def test_intervals_are_counted_where_there_are_any():
    y = np.arange(40.0)
    test = pg.Table(np.random.default_rng(0).normal(size=(40, 2)), y)

    def known(estimator):
        return Results(estimator, None, test, test, 0).calibration()

    assert known(WithIntervals(y)) == {"coverage": 0.9, "inside": 0.5}
    assert known(WithIntervals(y, able=False)) == known(object()) == {}
    shown = pg.FeatureRanking(("x0",), [1.0], settings={"calibration": known(WithIntervals(y))})
    (said,) = content.calibration(shown, ())
    assert said == "Of the test rows, 50.0\u00a0% are inside the network’s 90\u00a0% intervals."


@pytest.mark.slow
def test_equal_results_give_equal_pages(report, tmp_path):
    """No date and no random names inside: a page can be compared."""
    write_results(tmp_path, report.results)
    assert (tmp_path / "report.html").read_bytes() == report.page.encode(), "pages differ"


def test_rounded_by_column_and_by_number():
    shown = cells(
        pd.DataFrame({"ranking": ["a", "b"], "n_rows": [12345, 1], "x": [-0.012345, np.nan]}, index=["i", "j"])
    )
    assert shown.header == ["", "ranking", "n rows", "x"]
    assert shown.rows == [["i", "a", "12,345", "−0.01235"], ["j", "b", "1", "–"]]
    assert shown.numeric == [False, False, True, True]
    assert cells(pd.DataFrame({"x": range(60)})).left_out == 10
    assert cells(pd.DataFrame()) is None
    assert (number(0.000123456), number(None), number(True)) == ("0.0001235", "–", "True")
    assert (probability(0.0004), probability(0.0405), probability(np.nan)) == ("< 0.001", "0.041", "–")
    assert percent(0.2149, 1) == "21.5\u00a0%"
    assert percent(-0.2149) == "−21\u00a0%"
    assert percent(-0.001) == "0\u00a0%"  # and no less


def test_intervals_places_and_q_values_are_shown():
    p_values = {"p_values": [0.0001, 0.5, 1.0], "q_values": [0.25, 0.75, 1.0]}
    parts = {
        "layer_cam": pg.FeatureRanking(tuple("abc"), [1.0, 2.0, 3.0]),
        "conditional": pg.FeatureRanking(tuple("abc"), [3.0, 2.0, 1.0], pending=("a",), **p_values),
    }
    ends = {"low": [0.5, 1.25, 0], "high": [1.5, 2.5, 0], "rank_low": [1, 1, 3], "rank_high": [2, 2, 3]}
    ranking = pg.FeatureRanking(
        tuple("abc"), [1.0, 2.0, 0.0], method="permgrad", components=parts, pending=("c",), **ends, p_values=[0.9] * 3
    )
    shown = ranking_cells(ranking, 5)
    assert shown.header == [
        *("#", "column", "score", "95 % interval", "place, 95 %"),
        *("LayerCAM", "Condi\u00adtional", "p", "q"),
    ]
    assert shown.rows[0] == ["1", "b", "2.000", "1.250 to 2.500", "1 to 2", "2.000", "2.000", "0.500", "0.750"]
    assert shown.rows[1] == ["2", "a", "1.000", "0.500 to 1.500", "1 to 2", "1.000", "–", "–", "–"]
    assert shown.rows[2] == ["–", "c", *["not measured"] * 7]


def test_every_row_shown_was_chosen_by_rule(report, table):
    """The first test row of each class, then the first mistake; predicted and true as the estimator says."""
    page = report.page
    captions = [
        " ".join(Reader(text).text.split()) for text in re.findall(r"<figcaption>(True:.*?)</figcaption>", page, re.S)
    ]
    assert captions[0].startswith("True: <i>yes</i>")
    assert captions[1].startswith("True: no")
    for caption in captions:
        true, predicted = re.match(r"True: (.*?) ?\. Predicted: (.*?)(?: ✗ wrong)? ?\.", caption).groups()
        assert ("✗ wrong" in caption) == (true != predicted)


def test_headings_and_tables_can_be_read_aloud(report):
    page = report.page
    tags = Reader(page).tags
    levels = [int(tag[1]) for tag, _ in tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert ("html", {"lang": "en"}) in tags
    assert all(attributes.get("scope") in ("col", "row") for tag, attributes in tags if tag == "th")
    assert all(attributes.get("alt") for tag, attributes in tags if tag == "img")
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_words_say_what_is_tested_and_of_what():
    names, scores = ("a", "b"), np.array([1.0, 0.1])
    part = pg.FeatureRanking(
        names, scores, low=scores - 0.1, high=scores + 0.1, p_values=[0.01, 0.4], method="permutation"
    )
    one = " ".join(content.meaning(part))
    assert "p tests whether this network gains by the column" in one
    assert "trained once" in one
    assert "twice the median" not in one
    recipe = replace(part, settings={"trainings": 5, "scope": "this recipe"})
    several = " ".join(content.meaning(recipe))
    assert "p (twice the median of 5 networks’ p-values) tests whether this recipe gains by the column" in several
    assert "means over 5 trainings" in several
    assert "do not cover" not in several
    assert "the first of them" in content.limits(recipe, None)[2]
    probed = replace(part, settings={"probes": ["b"]})
    assert "The grey band shows the probes’ intervals." in " ".join(content.meaning(probed))


def test_probes_are_no_columns_of_the_table():
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(40, 3)), columns=list("abc"))
    table = pg.Table(X, np.tile([0, 1], 20)).with_probes(2)
    assert content.question(table).startswith("Which of 3 columns does")
    settings = {"test_rows": 8, "split_random_state": 0, "data": {"sha256": "0"}}
    known = {"ranking": SimpleNamespace(settings=settings), "whole": table, "table": table}
    results = SimpleNamespace(**known, in_files=None, foreign=None)
    facts = content.data_facts(results)
    assert (facts["Columns"], facts["Probes"]) == ("3", "2, shuffled copies of columns")
    assert _caption(3, 2) == "The 3 columns and 2 probes, best first"
