"""The page as a reader gets it: its text, what it refers to, and how a real browser shows it."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import permgrad as pg
from permgrad.report.directory import write_results
from permgrad.report.page import _content as content
from permgrad.report.page._checkup import bars
from permgrad.report.page._render import MAX_ROWS, render_page
from permgrad.report.page._tables import cells, number, percent, probability, ranking_cells
from permgrad.report.results import Results
from tests.conftest import SMALL
from tests.referees import evaluation

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SCRIPT = "<script>alert(1)</script>"
NOTES = {
    "title": "A <b>bold</b> title",
    "license": "CC BY 4.0",
    "homepage": "javascript:alert(1)",
    "citation": "Doe & Roe",
}
SIZES = ((360, 740), (1280, 900))


class Reader(HTMLParser):
    """Tags in order, and the text between them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def written(out, table, estimator, **keywords):
    """Fit on the split's training rows, write the results, return (ranking, page's source)."""
    train, _, test = table.split(random_state=7)
    estimator.fit(train.X, train.y)
    models = pg.reference_models(estimator, train, test)
    ranking = estimator.rank_features(test.X, test.y, n_repeats=2, budget=pg.Budget(tolerance=0.1))
    settings = {**ranking.settings, "agreement": {"permutation": 0.75, "end_to_end": 0.4375}}
    ranking = pg.FeatureRanking.from_dict({**ranking.to_dict(), "settings": settings})
    results = Results(estimator, ranking, table, test, 7, models=models, **keywords)
    ranking = write_results(out, results)
    return results, ranking, (out / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def table() -> pg.Table:
    """Names that break HTML, formulas and narrow screens; gaps; a column that never varies."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(120, 4)), columns=[SCRIPT, "cost in $ per $", "a'b\"c&d", "x_" * 60]).assign(
        same=1.0
    )
    y = pd.Series(np.where(X[SCRIPT] > 0, "<i>yes</i>", "no"), name="out</h1>come")
    X.iloc[:3, 1] = np.nan
    return pg.Table(X, y, name="<u>mine</u>", notes=NOTES)


@pytest.fixture(scope="module")
def report(table, tmp_path_factory):
    out = tmp_path_factory.mktemp("report")
    with pytest.warns(UserWarning, match="no information in 'same'"):
        results, ranking, page = written(
            out,
            table,
            pg.HybridClassifier(**SMALL, epochs=2, random_state=3),
            evaluation=evaluation(),
            command="permgrad rank 'a & b.csv' --target y",
        )
    return SimpleNamespace(results=results, path=out / "report.html", ranking=ranking, page=page)


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """More columns than the page holds; a network without images that learned nothing."""
    rng = np.random.default_rng(1)
    table = pg.Table(pd.DataFrame(rng.normal(size=(60, 230))).add_prefix("x"), rng.normal(size=60), name="wide")
    estimator = pg.HybridRegressor(
        preset="published", branches=("tabular",), dense_units=(4,), epochs=1, learning_rate=1e-6
    )
    _, ranking, page = written(tmp_path_factory.mktemp("wide"), table, estimator)
    return ranking, page


def test_what_comes_with_the_data_is_text_and_no_markup(report):
    page = report.page
    read = Reader(page)
    assert {"script", "b", "i", "u"}.isdisjoint(tag for tag, _ in read.tags)
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
        assert tag not in ("script", "iframe", "object", "embed", "form")
        assert not any(name.startswith("on") for name in attributes)
        if "src" in attributes:
            assert attributes["src"].startswith("data:image/")
        if "href" in attributes:
            assert attributes["href"].startswith(("#", "data:")), "notes' homepage is no web address here"
    assert not re.search(r"@import|url\(", page)


def test_a_homepage_on_the_web_is_a_link():
    from permgrad.report.page._render import _link

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
    header, *rows = rows_of(page, "The 5 best of 5 columns")
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
    for row in rows_of(page, "On 24 test rows, which no part of the network was fitted on")[1:]:
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
    assert "ranked last: same." in text
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
    _, *rows = rows_of(page, "Rankings, best place first")
    assert [row[:3] for row in rows] == [["PermGrad", "0.3000", "0.4000"], ["Random forest", "0.1000", "0.6000"]]
    text = Reader(page).text
    lost = "deletion (mean): permgrad 0.4 ± 0.01, behind random_forest 0.6 ± 0.01"
    assert f"Where this ranking is beaten {lost}" in text
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
    assert len(page) < 1_500_000
    _, *rows = rows_of(page, f"The best {MAX_ROWS} columns")
    assert [row[1] for row in rows] == [ranking.features[i] for i in ranking.order[:MAX_ROWS]]
    assert "30 more rows are not shown" in page
    assert "What the image branch sees" not in page


def test_a_network_that_learned_nothing_is_called_so(wide):
    ranking, page = wide
    assert ranking.settings["test_scores"]["r2"] <= 0
    assert "is no better. Its ranking says" in page
    said = "This network has learned nothing that these 12 rows can tell from chance"
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
    page = render_page(even, {})
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
    (said,) = content.calibration(shown)
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


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="no driver: pip install playwright")
    if CHROMIUM is None:
        pytest.skip("no browser: apt install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.mark.parametrize("size", SIZES)
def test_a_browser_shows_it_on_a_phone_and_on_a_desk(browser, report, size):
    path = report.path
    page = browser.new_page(viewport={"width": size[0], "height": size[1]})
    errors, requests = [], []
    page.on("console", lambda message: errors.append(message.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("dialog", lambda dialog: errors.append(dialog.message))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(path.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true })")
    page.wait_for_function("[...document.images].every(image => image.complete)")
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    sizes = page.evaluate("[...document.images].map(image => [image.naturalWidth, image.clientWidth])")
    assert len(sizes) >= 12
    assert all(natural > 0 and shown > 50 for natural, shown in sizes)
    assert [url for url in requests if not url.startswith("data:")] == [path.as_uri()]
    assert errors == []
    assert page.inner_text("h1") == NOTES["title"]
    assert "The ranking" in page.locator("h2").all_inner_texts()
    page.close()


def test_words_say_what_is_tested_and_of_what():
    names, scores = ("a", "b"), np.array([1.0, 0.1])
    part = pg.FeatureRanking(
        names, scores, low=scores - 0.1, high=scores + 0.1, p_values=[0.01, 0.4], method="permutation"
    )
    one = " ".join(content.meaning(part))
    assert "p tests that this network does not gain by the column" in one
    assert "trained once" in one
    assert "twice the median" not in one
    recipe = replace(part, settings={"trainings": 5, "scope": "this recipe"})
    several = " ".join(content.meaning(recipe))
    assert "p (twice the median of 5 networks’ p-values) tests that this recipe does not gain by the column" in several
    assert "means over 5 trainings" in several
    assert "do not cover" not in several
    assert "the first of them" in content.limits(recipe, None)[2]
    probed = replace(part, settings={"probes": ["b"]})
    assert "The grey band is where the probes’ intervals lie." in " ".join(content.meaning(probed))
