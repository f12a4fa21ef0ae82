"""The page of a run in a real browser: what a reader sees, clicks and types, and no request."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from browser import chromium
from consilience.data.dataset import Dataset, Example
from consilience.data.task import Task
from consilience.elicitation.session import elicit
from consilience.elicitation.settings import Settings
from consilience.evaluation.evaluation import evaluate
from consilience.models.simulated import SimulatedModel, world_dataset
from consilience.planning.planner import PlanSettings
from consilience.results.corrections import run_named
from consilience.results.report_rows import prompt_of
from consilience.results.result import Found
from consilience.solvers.lbfgs import LBFGS
from hostile import HOSTILE, labelled
from recorder import Recorder

SETTINGS = Settings(calls_per_example=6.0, plan=PlanSettings(shots=4), settled=0.0)


class Seen(NamedTuple):
    """A browser, the page that it shows, and the result that the page is of."""

    browser: Any
    page: Path
    found: Found


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("profile")) as made:
        yield made


@pytest.fixture(scope="module")
def written(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    data, gold = world_dataset("easy", 120)
    found = elicit(data, SimulatedModel("easy"), settings=SETTINGS, solver=LBFGS(starts=1))
    path = tmp_path_factory.mktemp("pages") / "easy.html"
    found.report(path, scores=evaluate(found, gold))
    return Seen(browser, path, found)


@pytest.fixture
def seen(written: Seen) -> Iterator[Seen]:
    """The page as it is when it was just opened; in the end nothing was complained of or asked."""
    for kind in ("browser", "performance"):
        written.browser.get_log(kind)
    written.browser.get(written.page.as_uri())
    yield written
    assert written.browser.get_log("browser") == []
    assert asked(written.browser) <= {written.page.as_uri(), "data:,"}


def asked(browser: Any) -> set[str]:
    """The addresses that the browser has asked for since it was last looked."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [e["params"] for e in events if e["method"] == "Network.requestWillBeSent"]
    return {params["request"]["url"] for params in sent}


def texts(browser: Any, selector: str) -> list[str]:
    """What the elements say, as it is in the page."""
    script = "return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent)"
    return list(browser.execute_script(script, selector))


def click(browser: Any, selector: str) -> None:
    element = browser.find_element("css selector", selector)
    # The bar on top of the page must not lie over it, nor the page be on its way there.
    there = "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})"
    browser.execute_script(there, element)
    element.click()


def press(browser: Any, *keys: str) -> None:
    browser.switch_to.active_element.send_keys(*keys)


UNFOLD = "document.querySelectorAll('.pull summary').forEach((e) => e.click())"

KEYS = {"down": "\ue015", "right": "\ue014", "enter": "\ue007", "escape": "\ue00c", "tab": "\ue004"}


def choose(browser: Any, id: str, value: str) -> None:
    click(browser, f"#{id} option[value='{value}']")


def test_the_rows_are_those_of_the_library_the_doubtful_first(seen: Seen) -> None:
    labels = seen.found.labels
    labels = labels.assign(decided=~labels["open"])
    labels = labels.sort_values(["decided", "probability"], kind="stable").head(50)
    assert texts(seen.browser, "tbody .id") == list(labels["id"])
    assert texts(seen.browser, ".rows td.p") == [f"{p:.3f}" for p in labels["probability"]]
    shown = texts(seen.browser, "td.words")
    assert shown == [seen.found.dataset.texts[i] for i in labels.index]
    assert [t.split()[0] for t in texts(seen.browser, "td.label")] == list(labels["name"])
    assert texts(seen.browser, "#count") == ["120 rows"]


def test_pages_of_rows_turn(seen: Seen) -> None:
    first = texts(seen.browser, "tbody .id")
    click(seen.browser, "#on")
    click(seen.browser, "#on")
    assert len(texts(seen.browser, "tbody .id")) == 20
    assert texts(seen.browser, "#place") == ["101 to 120"]
    assert not seen.browser.find_element("id", "on").is_enabled()
    click(seen.browser, "#back")
    click(seen.browser, "#back")
    assert texts(seen.browser, "tbody .id") == first


def test_a_column_sorts_up_and_down(seen: Seen) -> None:
    labels = seen.found.labels
    whole = {"p": labels["probability"], "label": labels["name"]}
    for name, up in (("p", True), ("p", False), ("label", True)):
        click(seen.browser, f"[data-column='{name}']")
        said = texts(seen.browser, f"tbody .{name}")
        values = [float(v) for v in said] if name == "p" else [v.split()[0] for v in said]
        first = {True: min, False: max}[up]
        assert values[0] == first(float(f"{p:.3f}") if name == "p" else p for p in whole[name])
        assert values == sorted(values, reverse=not up)
        head = seen.browser.find_element("css selector", f"thead .{name}")
        assert head.get_attribute("aria-sort") == ("ascending" if up else "descending")


def test_a_search_finds_texts_and_a_filter_labels(seen: Seen) -> None:
    data = seen.found.dataset
    word = data.texts[3].split()[-1]
    seen.browser.find_element("id", "search").send_keys(word.upper())
    expected = {id for id, t in zip(data.ids, data.texts, strict=True) if word in t}
    assert set(texts(seen.browser, "tbody .id")) == expected
    seen.browser.find_element("id", "search").send_keys(" and what nobody wrote")
    assert texts(seen.browser, "tbody .id") == []
    assert texts(seen.browser, "#count") == ["0 of 120 rows"]
    seen.browser.get(seen.page.as_uri())
    choose(seen.browser, "label", "1")
    choose(seen.browser, "show", "decided")
    labels = seen.found.labels
    wanted = labels[(labels["label"] == 1) & ~labels["open"]]
    assert texts(seen.browser, "#count") == [f"{len(wanted)} of 120 rows"]
    assert set(texts(seen.browser, "tbody .id")) <= set(wanted["id"])
    choose(seen.browser, "label", "")
    choose(seen.browser, "show", "wrong")
    assert all("differs" in said for said in texts(seen.browser, "td.gold"))


def test_a_row_opens_and_its_pulls_sum_to_its_log_odds(seen: Seen) -> None:
    id = texts(seen.browser, "tbody .id")[0]
    click(seen.browser, "tbody tr td.p")
    assert texts(seen.browser, "#row-title") == [id]
    i = seen.found.dataset.index[id]
    assert texts(seen.browser, ".whole") == [seen.found.dataset.texts[i]]
    assert texts(seen.browser, ".probs .num") == [f"{p:.3f}" for p in seen.found.soft_labels[i]]
    read = "return [...document.querySelectorAll('[data-pull]')].map((e) => e.dataset.pull)"
    pulls = [float(pull) for pull in seen.browser.execute_script(read) if pull]
    q = np.sort(seen.found.solution.labels[i])
    total = np.log(q[-1] / q[-2])
    assert sum(pulls) == pytest.approx(total, abs=1e-4)
    assert texts(seen.browser, ".total .num") == [f"{total:+.2f}".replace("-", "−")]
    assert len(pulls) == seen.found.explain(id)["pull"].notna().sum()


def test_an_answer_opens_with_its_prompt_as_it_was_asked(seen: Seen) -> None:
    id = texts(seen.browser, "tbody .id")[0]
    click(seen.browser, "tbody tr td.p")
    keys = seen.found.explain(id)["prediction"].dropna()
    seen.browser.execute_script(UNFOLD)
    wait = "const done = arguments[0]; setTimeout(done, 50)"
    seen.browser.execute_async_script(wait)
    shown = texts(seen.browser, "dialog .prompt")
    assert sorted(shown) == sorted(prompt_of(seen.found, key) for key in keys)
    assert len(shown) > 2


def test_the_whole_of_it_by_keys(seen: Seen) -> None:
    ids = texts(seen.browser, "tbody .id")
    press(seen.browser, "/")
    assert seen.browser.switch_to.active_element.get_attribute("id") == "search"
    press(seen.browser, KEYS["down"])
    press(seen.browser, KEYS["down"])
    press(seen.browser, KEYS["enter"])
    assert texts(seen.browser, "#row-title") == [ids[1]]
    press(seen.browser, KEYS["right"])
    assert texts(seen.browser, "#row-title") == [ids[2]]
    press(seen.browser, KEYS["escape"])
    assert seen.browser.find_elements("css selector", "dialog[open]") == []
    # The row that was open has the focus.
    here = "return document.activeElement.closest('tr').querySelector('.id').textContent"
    assert seen.browser.execute_script(here) == ids[2]


def test_labels_are_corrected_by_clicks_and_the_file_comes_back(seen: Seen, tmp_path: Path) -> None:
    where = {"behavior": "allow", "downloadPath": str(tmp_path)}
    seen.browser.execute_cdp_cmd("Browser.setDownloadBehavior", where)
    assert not seen.browser.find_element("id", "download").is_displayed()
    ids = texts(seen.browser, "tbody .id")[:3]
    names = seen.found.dataset.task.classes
    labels = dict(zip(seen.found.labels["id"], seen.found.labels["name"], strict=True))
    told = {id: next(name for name in names if name != labels[id]) for id in ids[:2]}
    click(seen.browser, "tbody tr td.p")
    for id in ids:
        assert texts(seen.browser, "#row-title") == [id]
        offered = texts(seen.browser, "#right option")
        assert set(offered) == {"as it is", *names} - {labels[id]}
        choose(seen.browser, "right", next(name for name in names if name != labels[id]))
        click(seen.browser, "[aria-label='The row after']")
    # The last was chosen by mistake.
    click(seen.browser, "[aria-label='The row before']")
    click(seen.browser, "#right option[value='']")
    press(seen.browser, KEYS["escape"])
    assert texts(seen.browser, ".flag.chosen") == [f" → {name}" for name in told.values()]
    choose(seen.browser, "show", "chosen")
    assert texts(seen.browser, "tbody .id") == ids[:2]
    assert texts(seen.browser, "#download") == ["Download 2 corrections"]
    click(seen.browser, "#download")
    file = tmp_path / "corrections.csv"
    until(file.exists)
    made = seen.found.corrected(file)
    classes = {id: names[label] for id, label in made.corrections.items()}
    assert classes == told and made.asked.calls == seen.found.asked.calls
    assert file.read_text().count(run_named(seen.found)) == 2


def test_a_correction_is_taken_back_by_clicks_whatever_ids_and_classes_are_called(
    browser: Any, tmp_path: Path
) -> None:
    found = labelled()
    data = found.dataset
    own = [data.own_id(id) for id in data.ids]
    browser.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)}
    )
    browser.get_log("performance")
    browser.get(found.report(tmp_path / "hostile.html").as_uri())
    click(browser, "tbody tr td.p")
    told = {}
    for _ in own:
        (id,) = texts(browser, "#row-title")
        name = texts(browser, "#right option")[-1]
        browser.find_elements("css selector", "#right option")[-1].click()
        told[id] = name
        press(browser, KEYS["tab"])
        browser.execute_script("document.querySelector(\"[aria-label='The row after']\").click()")
    press(browser, KEYS["escape"])
    click(browser, "#download")
    file = tmp_path / "corrections.csv"
    until(file.exists)
    made = found.corrected(file)
    assert len(made.corrections) == len(told) == len(own)
    browser.get(made.report(tmp_path / "corrected.html").as_uri())
    click(browser, "tbody tr td.p")
    assert texts(browser, "#right option")[-1] == "take back"
    browser.find_elements("css selector", "#right option")[-1].click()
    (id,) = texts(browser, "#row-title")
    press(browser, KEYS["escape"])
    file.unlink()
    click(browser, "#download")
    until(file.exists)
    less = made.corrected(file)
    assert set(made.corrections) - set(less.corrections) == {data.find(id)}
    assert {url.partition(":")[0] for url in asked(browser)} <= {"file", "data", "blob"}


def test_what_is_set_back_is_no_longer_among_what_is_to_be_corrected(seen: Seen) -> None:
    click(seen.browser, "tbody tr td.p")
    for _ in range(2):
        seen.browser.find_elements("css selector", "#right option")[-1].click()
        click(seen.browser, "[aria-label='The row after']")
    press(seen.browser, KEYS["escape"])
    choose(seen.browser, "show", "chosen")
    second = texts(seen.browser, "tbody .id")[1]
    click(seen.browser, "tbody tr td.p")
    click(seen.browser, "#right option[value='']")
    click(seen.browser, "[aria-label='The row after']")
    assert texts(seen.browser, "#row-title") == [second]
    press(seen.browser, KEYS["escape"])
    assert texts(seen.browser, "tbody .id") == [second]
    assert texts(seen.browser, "#count") == ["1 of 120 rows"]


def test_arrows_within_a_prompt_stay_in_its_row(seen: Seen) -> None:
    click(seen.browser, "tbody tr td.p")
    seen.browser.execute_script(UNFOLD)
    until(lambda: bool(texts(seen.browser, ".prompt")))
    title = texts(seen.browser, "#row-title")
    seen.browser.execute_script("document.querySelector('.pulls .prompt').focus()")
    press(seen.browser, KEYS["right"])
    assert texts(seen.browser, "#row-title") == title


def test_a_row_is_found_by_its_id_where_an_earlier_one_has_its_text(
    browser: Any, tmp_path: Path
) -> None:
    records = [{"id": f"C-{i}", "text": f"The lamp number {i % 20} is lit."} for i in range(240)]
    data = Dataset.from_records(records, text="text", id="id", task=Task("Good?", ("no", "yes")))
    found = elicit(data, SimulatedModel("easy"), settings=SETTINGS, solver=LBFGS(starts=1))
    browser.get_log("performance")
    browser.get(found.report(tmp_path / "repeated.html").as_uri())
    assert texts(browser, "#count") == ["20 texts (240 rows)"]
    browser.find_element("id", "search").send_keys("C-235")
    assert texts(browser, "tbody .id") == ["C-15 ×12"]
    assert texts(browser, "#count") == ["1 of 20 texts (12 rows)"]
    click(browser, "tbody tr td.p")
    ids = ", ".join(f"C-{i}" for i in range(15, 175, 20))
    (facts,) = (text for text in texts(browser, ".sheet .note") if "rows of the table" in text)
    assert f"stands in 12 rows of the table: {ids} and 4 more" in facts


def until(true: Callable[[], bool]) -> None:
    """Waits until something is true, and no longer than ten seconds."""
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def ground(browser: Any) -> tuple[int, ...]:
    """The colour behind the page, as three numbers."""
    read = "return getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g)"
    return tuple(int(part) for part in browser.execute_script(read)[:3])


def test_it_is_dark_or_light_as_the_system_is_or_as_one_says(seen: Seen) -> None:
    def system(scheme: str) -> None:
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        seen.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    button = seen.browser.find_element("id", "theme")
    try:
        system("light")
        assert min(ground(seen.browser)) > 230
        system("dark")
        assert max(ground(seen.browser)) < 60
        button.click()
        assert (button.text, min(ground(seen.browser)) > 230) == ("Theme: light", True)
        system("light")
        button.click()
        assert (button.text, max(ground(seen.browser)) < 60) == ("Theme: dark", True)
    finally:
        button.click()
        seen.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_it_fits_a_phone_and_a_sheet_of_paper(seen: Seen) -> None:
    phone = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True}
    seen.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    try:
        wide = "return document.documentElement.scrollWidth"
        assert seen.browser.execute_script(wide) <= 360
        seen.browser.execute_script("document.querySelector('td.words button').click()")
        wide = "return document.querySelector('dialog').scrollWidth"
        assert seen.browser.execute_script(wide) <= 360
    finally:
        seen.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    printed = seen.browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})
    assert len(printed["data"]) > 20_000
    seen.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        for id in ("controls", "theme"):
            assert not seen.browser.find_element("id", id).is_displayed()
        assert seen.browser.find_element("id", "table").is_displayed()
    finally:
        seen.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_the_policy_stops_a_request_even_if_something_made_one(written: Seen) -> None:
    written.browser.get(written.page.as_uri())
    script = """
        const done = arguments[0];
        const image = new Image();
        document.addEventListener("securitypolicyviolation", (e) => done(e.violatedDirective));
        image.src = "http://127.0.0.1:9/x.png";
    """
    assert written.browser.execute_async_script(script) == "img-src"
    written.browser.get_log("browser")


def test_of_many_classes_a_row_shows_the_likeliest_first(browser: Any, tmp_path: Path) -> None:
    names = tuple(f"Kind {c} with a name that is longer than a phone is wide" for c in range(30))
    data = Dataset("many", [Example(f"text {i}") for i in range(12)], task=Task("Which?", names))
    settings = Settings(calls_per_example=1.0, plan=PlanSettings(shots=4))
    found = elicit(data, Recorder(), settings=settings, solver=LBFGS(starts=1))
    browser.get(found.report(tmp_path / "many.html").as_uri())
    click(browser, "tbody tr td.p")
    shown = [float(text) for text in texts(browser, "dialog .probs .num")]
    first = texts(browser, "dialog .probs:not(details *) .num")
    [id] = texts(browser, "#row-title")
    labels = found.soft_labels[data.index[data.find(id)]]
    assert shown == [round(float(p), 3) for p in sorted(labels, reverse=True)]
    assert len(first) == 8
    [folded] = texts(browser, "dialog .probs + details > summary")
    assert folded == f"22 other classes, {np.sort(labels)[:22].sum():.3f} together"
    assert browser.get_log("browser") == []


def test_texts_of_any_kind_are_shown_as_texts(browser: Any, tmp_path: Path) -> None:
    found = labelled()
    browser.get_log("performance")
    page = found.report(tmp_path / "hostile.html")
    browser.get(page.as_uri())
    assert browser.title == "<u>texts</u>: labels of <s>lengths</s>"
    shown = set(texts(browser, "td.words"))
    assert {example.text for example in found.dataset.examples} == shown
    assert set(HOSTILE) <= shown
    for _ in range(3):
        if browser.find_elements("css selector", "dialog[open]"):
            press(browser, KEYS["right"])
        else:
            click(browser, "tbody tr td.p")
        browser.execute_script(UNFOLD)
    assert browser.find_elements("css selector", "td.words *:not(button), img, u, s, i") == []
    assert browser.title.startswith("<u>texts</u>")
    assert browser.get_log("browser") == []
    assert asked(browser) <= {page.as_uri(), "data:,"}
