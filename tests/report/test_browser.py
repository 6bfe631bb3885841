"""The page as a reader uses it: in a real browser, on a phone and on a desk, with and without its script."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from permgrad.files import read_json
from permgrad.report.page._render import FILE, KIND, PARTS, render
from permgrad.report.page._values import page_values
from permgrad.report.pictures import pictures
from permgrad.report.results import Results
from permgrad.report.serving import results_server
from tests.report.conftest import NOTES, SCRIPT

pytestmark = pytest.mark.slow

PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
FITS = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"


@pytest.fixture
def opened(browser):
    """Open a page; at the end nothing was said on the console, asked of the network, or run that is not the page's."""
    contexts, errors, requests = [], [], []

    def open_page(path, size, **settings):
        context = browser.new_context(viewport=size, **settings)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda message: errors.append(message.text))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("dialog", lambda dialog: errors.append(dialog.message))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []
    assert {url for url in requests if not url.startswith(("data:", "file:"))} == set()
    assert len([url for url in requests if url.startswith("file:")]) == len(contexts)


def visible_parts(page) -> list[str]:
    return [part for part in PARTS if page.locator(f"#{part}").is_visible()]


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_without_its_script_all_is_seen(opened, report, size):
    page = opened(report.path, size, java_script_enabled=False)
    assert visible_parts(page) == list(PARTS)
    for hidden in (".tool", ".drawn", "#column", ".only"):
        assert not any(each.is_visible() for each in page.locator(hidden).all())
    page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true })")
    sizes = page.evaluate("[...document.images].map(image => [image.naturalWidth, image.clientWidth])")
    assert len(sizes) >= 14
    assert all(natural > 0 and shown > 50 for natural, shown in sizes)
    assert page.evaluate(FITS)
    assert page.inner_text("h1") == NOTES["title"]
    assert len(page.locator("#ranked tbody tr").all()) == 5


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_tabs_by_mouse_and_by_keys(opened, report, size):
    page = opened(report.path, size)
    assert visible_parts(page) == ["ranking"]
    for part, name in {**PARTS, "by": "By <i>site</i>"}.items():
        page.get_by_role("tab", name=name, exact=True).click()
        assert visible_parts(page) == [part]
        assert page.get_by_role("tabpanel", name=name, exact=True).count() == 1
        page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true })")
        page.wait_for_timeout(50)  # charts are drawn
        assert page.evaluate(FITS), part
    page.keyboard.press("Home")
    assert visible_parts(page) == ["ranking"]
    page.keyboard.press("ArrowLeft")
    assert visible_parts(page) == ["again"]
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert visible_parts(page) == ["rows"]
    assert page.evaluate("document.activeElement.id") == "tab-rows"
    page.evaluate("location.hash = '#limits'")
    page.wait_for_function("!document.getElementById('ranking').hidden")
    page.get_by_role("tab", name="Performance").click()
    for name in ("roc", "precision_recall", "confusion", "reliability", "models"):
        assert page.locator(f"figure[data-chart={name}] svg").is_visible()
        assert not page.locator(f"figure[data-chart={name}] img").filter(visible=True).count()
    page.emulate_media(media="print")
    assert visible_parts(page) == list(PARTS)
    assert page.locator("figure[data-chart=roc] img").is_visible()
    assert not page.locator("figure[data-chart=roc] svg").is_visible()


def names_in(page) -> list[str]:
    return [name.inner_text() for name in page.locator("#ranked tbody th").filter(visible=True).all()]


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_the_ranking_is_sorted_searched_and_shown_by_class(opened, report, size):
    page, table = opened(report.path, size), report.ranking.table
    ranked = table["feature"].tolist()
    assert names_in(page) == ranked
    head = page.locator("#ranked thead th")
    head.filter(has_text="Last in").get_by_role("button").click()
    assert names_in(page) == table.sort_values("end_to_end", ascending=False, kind="stable")["feature"].tolist()
    assert head.filter(has_text="Last in").get_attribute("aria-sort") == "descending"
    head.filter(has_text="Last in").get_by_role("button").click()
    assert names_in(page)[-1] == table.sort_values("end_to_end")["feature"].iloc[-1]
    page.get_by_label("Search").fill("SCRIPT")
    assert names_in(page) == [SCRIPT]
    assert page.inner_text("#shown") == "1 of 5 columns are shown."
    page.get_by_label("Search").fill("")
    page.get_by_label("Scores of").select_option("<i>yes</i>")
    assert names_in(page)[0] == table.sort_values("score[<i>yes</i>]", ascending=False)["feature"].iloc[0]
    shown = [each.inner_text() for each in head.filter(visible=True).all()]
    assert [name for name in shown if name.startswith("score of")] == ["score of <i>yes</i> ▼"[:-2]]
    assert page.locator("figure[data-chart=ranking] svg").count() == 1
    page.get_by_label("Scores of").select_option("all classes")
    assert names_in(page) == ranked


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_a_column_is_asked_for(opened, report, size):
    page = opened(report.path, size)
    name = page.get_by_role("button", name=SCRIPT, exact=True)
    name.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name=SCRIPT)
    assert dialog.locator("h2").inner_text() == SCRIPT
    assert "score" in dialog.inner_text()
    assert dialog.locator("svg").count() == 3  # values, effect, pairs
    assert page.evaluate("(d => d.scrollWidth <= d.clientWidth)(document.getElementById('column'))")
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert page.evaluate("document.activeElement.textContent") == SCRIPT
    page.locator("figure[data-chart=ranking] svg [aria-roledescription=bar]").first.click(
        force=True
    )  # whiskers lie above
    assert page.inner_text("#column h2") == report.ranking.select(1)[0]
    page.get_by_role("button", name="Close").click()
    assert not page.locator("#column").is_visible()


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_rows_are_picked_and_changed(opened, numbers, size):
    page, results = opened(numbers.path, size), numbers.results
    page.get_by_role("tab", name="Rows").click()
    page.locator("#pick").select_option(index=5)
    one = results.test.X.iloc[[5]]
    own = results.estimator.predict(one)[0]
    assert page.locator("#waterfall svg").is_visible()
    assert f"kind = {one['kind'].iloc[0]}" in page.inner_text("#adds")
    assert page.inner_text(".outcome output") == two(
        results.estimator.predict(one)[0], results.estimator.predict(one)[0]
    )
    line_of(page, "kind").get_by_role("combobox").select_option("u")
    with_u = one.assign(kind="u")
    own = results.estimator.predict(one)[0]
    assert page.inner_text(".outcome output") == two(own, results.estimator.predict(with_u)[0])
    assert page.locator("#exact").is_visible()
    line_of(page, "few").get_by_role("slider").press("Home")
    line_of(page, "few").get_by_role("slider").press("End")
    assert "→ 2" in line_of(page, "few").inner_text()
    assert page.locator("#approximate").is_visible()
    assert not page.locator("#exact").is_visible()
    with_two = one.assign(few=2.0)
    added = own + sum(results.estimator.predict(each)[0] - own for each in (with_u, with_two))
    assert page.inner_text(".outcome output") == two(own, added)
    page.get_by_role("button", name="As it was").click()
    assert page.inner_text(".outcome output") == two(own, own)
    page.get_by_role("button", name="‹ Previous").click()
    assert page.locator("#pick").input_value() == "4"
    page.locator("#near button").first.click()
    assert page.locator("#pick").input_value() != "4"
    page.evaluate("document.getElementById('pick').selectedIndex = 0")
    assert page.evaluate(FITS)


def line_of(page, name: str):
    """Return the line of the what-if panel that changes a column."""
    return page.locator(".change").filter(has_text=name)


def two(before: float, after: float) -> str:
    """Return two answers as the page writes them."""
    return " → ".join(f"{float(f'{value:.4g}'):g}".replace("-", "−") for value in (before, after))


def test_probabilities_are_those_of_the_network(opened, report):
    page, results = opened(report.path, DESK), report.results
    page.get_by_role("tab", name="Rows").click()
    one = results.test.X.iloc[[0]]
    p = results.estimator.predict_proba(one)[0]
    said = [line.inner_text() for line in page.locator(".outcome output").all()]
    assert said == [f"{100 * share:.1f} % → {100 * share:.1f} %" for share in p]
    slider = line_of(page, "x_x_").get_by_role("slider")
    slider.press("End")
    slider.press("Home")
    lowest = one.assign(**{"x_" * 60: results.table.X["x_" * 60].min()})
    p = results.estimator.predict_proba(lowest)[0]
    said = [line.inner_text().split(" → ")[1] for line in page.locator(".outcome output").all()]
    assert said == [f"{100 * share:.1f} %" for share in p]
    assert page.locator("#own img").is_visible()


def test_a_table_too_wide_for_rows_has_all_else(opened, numbers, tmp_path):
    values = read_json(numbers.path.parent / FILE, kind=KIND)
    values |= {"carried": None, "asked": {**values["asked"], "rows": None}}
    (tmp_path / "wide.html").write_text(render(values, numbers.path.parent), encoding="utf-8")
    page = opened(tmp_path / "wide.html", PHONE)
    page.get_by_role("tab", name="Rows").click()
    assert "this page explains no rows" in page.inner_text("#rows")
    page.get_by_role("tab", name="Performance").click()
    assert page.locator("figure[data-chart=residuals] svg").is_visible()


def test_a_page_of_ten_thousand_rows_is_small(numbers):
    known = numbers.results
    rows = np.random.default_rng(0).integers(0, len(known.table), 10_000)
    table = known.table.take(rows)
    table.X["x"] += np.random.default_rng(1).normal(size=len(rows))
    large = Results(known.estimator, numbers.ranking, table, table.split()[2], 42).with_settings()
    assert len(large.test) == 2000
    names = [name for name, _ in pictures(large)]
    page = render(page_values(large, names), numbers.path.parent)
    assert len(page.encode()) < 3_000_000


def test_levels_are_drawn_and_a_column_of_theirs_opens(opened, report):
    page = opened(report.path, PHONE)
    page.get_by_role("tab", name="By <i>site</i>").click()
    for name in ("by_measure_0", "by_measure_1", "by_columns"):
        assert page.locator(f"figure[data-chart={name}] svg").is_visible()
    assert page.locator("#by img").filter(visible=True).count() == 0
    assert "<b>a</b>" in page.locator("figure[data-chart=by_columns] svg").text_content()
    page.locator("figure[data-chart=by_columns] svg [aria-roledescription=point]").first.click(force=True)
    assert page.inner_text("#column h2") == SCRIPT
    page.keyboard.press("Escape")
    page.emulate_media(media="print")
    assert page.locator("#by img").is_visible()


def test_a_served_page_asks_the_network_about_several_changes(browser, numbers):
    server, url = results_server(numbers.path.parent, 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    page, results, said = browser.new_page(viewport=PHONE), numbers.results, []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    try:
        page.goto(url)
        page.get_by_role("tab", name="Rows").click()
        page.locator("#pick").select_option(index=5)
        line_of(page, "kind").get_by_role("combobox").select_option("u")
        line_of(page, "few").get_by_role("slider").press("Home")
        line_of(page, "few").get_by_role("slider").press("End")
        page.locator("#live").wait_for(state="visible")
        one = results.test.X.iloc[[5]]
        changed = one.assign(kind="u", few=2.0)
        own, then = (results.estimator.predict(each)[0] for each in (one, changed))
        page.wait_for_function(f"document.querySelector('.outcome output').textContent === {two(own, then)!r}")
        assert not page.locator("#approximate").is_visible()
        page.get_by_role("button", name="As it was").click()
        assert page.locator("#exact").is_visible()
        assert said == []
    finally:
        page.close()
        server.shutdown()
        server.server_close()
