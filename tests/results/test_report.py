"""The page of a run as data: every text, every prompt and every number is the library's."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from consilience.data.dataset import Dataset, Example
from consilience.data.task import Task
from consilience.elicitation.session import elicit
from consilience.elicitation.settings import Settings
from consilience.errors import InputError, MissingExtra
from consilience.evaluation.evaluation import evaluate
from consilience.models.simulated import SimulatedModel, world_dataset
from consilience.planning.planner import PlanSettings
from consilience.results import report_rows
from consilience.results.corrections import run_named
from consilience.results.joint import together
from consilience.results.report import check_report, report_page
from consilience.results.report_content import context_offsets, histogram, report_content
from consilience.results.report_rows import PromptPieces, prompt_of, prompt_text
from consilience.results.result import Found
from consilience.solvers.lbfgs import LBFGS
from consilience.store.database import Store
from hostile import Lengths, labelled
from recorder import Recorder

SETTINGS = Settings(calls_per_example=6.0, plan=PlanSettings(shots=4), settled=0.0)


def found_on(world: str, count: int, store: Any = ":memory:") -> Found:
    data, _ = world_dataset(world, count)
    return elicit(
        data, SimulatedModel(world), settings=SETTINGS, solver=LBFGS(starts=1), store=store
    )


@pytest.fixture(scope="module")
def kept() -> tuple[Found, Store]:
    store = Store()
    return found_on("easy", 60, store), store


@pytest.fixture(scope="module")
def found(kept: tuple[Found, Store]) -> Found:
    return kept[0]


def page_rows(found: Found, scores: Any = None) -> dict[str, Any]:
    """The data of the table, as the script of the page reads it."""
    page = report_page(found, scores)
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    return json.loads(text)


def assembled(data: dict[str, Any], row: dict[str, Any], pull: list[Any]) -> str:
    """A prompt put together as the page does."""
    wording, shots = data["wordings"][pull[8]], data["lists"][pull[9]]
    other = data["quoted"].get(str(pull[8]), {})

    def words(number: int) -> str:
        return other.get(str(number), data["texts"][number])

    made = wording["head"]
    for text, label in zip(shots[::2], shots[1::2], strict=True):
        made += words(text) + wording["after"][label]
    return made + words(row["text"]) + wording["tail"]


def test_every_prompt_of_the_page_is_what_was_asked_byte_for_byte(
    kept: tuple[Found, Store],
) -> None:
    found, store = kept
    data = page_rows(found)
    asked = {store.detail(key)["prompt"] for key in found.evidence.predictions.keys}
    shown = {
        assembled(data, row, pull) for row in data["rows"] for pull in row["pulls"] if len(pull) > 3
    }
    assert shown == asked
    assert len(shown) == found.evidence.t
    some = found.evidence.predictions.keys[-1]
    assert prompt_of(found, some) == store.detail(some)["prompt"]


def test_prompts_after_landmarks_still_are_what_was_asked() -> None:
    store = Store()
    data, _ = world_dataset("easy", 60)
    found = elicit(
        data,
        SimulatedModel("easy"),
        # Names that mean nothing, so that landmarks may rename the classes.
        settings=replace(SETTINGS, framings=("sets",)),
        solver=LBFGS(starts=1),
        store=store,
    )
    said = {id: 1 - int(found.labels["label"][i]) for i, id in enumerate(data.ids)}
    turned = found.calibrated(said, "none")
    assert turned.orientation is not None
    assert turned.orientation.order == (1, 0)
    page = page_rows(turned)
    asked = {store.detail(key)["prompt"] for key in found.evidence.predictions.keys}
    shown = {
        assembled(page, row, pull) for row in page["rows"] for pull in row["pulls"] if len(pull) > 3
    }
    assert shown == asked


@pytest.mark.parametrize("style", ["text", "chat", "chat-prefill"])
def test_pieces_make_the_prompt_in_every_style(found: Found, style: Any) -> None:
    from consilience.prompts.framing import render

    for framing in found.framings:
        pieces = PromptPieces.of(framing, style)
        whole = prompt_text(render(framing, "the last", [("one", 1), ("two", 0)], style))
        made = pieces.head + "one" + pieces.after[1] + "two" + pieces.after[0]
        assert made + "the last" + pieces.tail == whole


def test_every_number_of_a_row_is_the_librarys(found: Found) -> None:
    data = page_rows(found)
    labels = found.labels.set_index("id")
    assert len(data["rows"]) == data["total"] == len(labels)
    for row in data["rows"]:
        mine = labels.loc[row["id"]]
        i = found.dataset.index[row["id"]]
        assert data["texts"][row["text"]] == found.dataset.texts[i]
        assert (row["label"], row["open"]) == (mine["label"], mine["open"])
        assert row["n"] == mine["predictions"]
        np.testing.assert_allclose(row["p"], found.soft_labels[i], rtol=1e-5)
        assert row["u"][0] == pytest.approx(mine["epistemic"], rel=1e-5)
        q = np.sort(found.solution.labels[i])
        odds = np.log(q[-1] / q[-2])
        assert row["odds"][2] == pytest.approx(odds, rel=1e-5)
        assert sum(pull[2] or 0 for pull in row["pulls"]) == pytest.approx(odds, abs=1e-3)
        pulls = sorted(found.explain(row["id"])["pull"].dropna())
        shown = sorted(pull[2] for pull in row["pulls"] if pull[2] is not None)
        np.testing.assert_allclose(shown, pulls, rtol=1e-5, atol=1e-9)


def test_what_was_answered_less_the_offset_is_what_counts(found: Found) -> None:
    data = page_rows(found)
    answers = [pull for row in data["rows"] for pull in row["pulls"] if len(pull) > 3]
    odds = np.array([[pull[3], pull[4]] for pull in answers], dtype=float)
    taken = np.abs(odds[:, 1] - odds[:, 0])
    most = max(abs(x) for o in context_offsets(found) for x in o["values"])
    assert taken.max() == pytest.approx(most, abs=1e-4)
    assert taken.max() > 0.01


def test_doubtful_rows_come_first(found: Found) -> None:
    rows = page_rows(found)["rows"]
    keys = [(not row["open"], max(row["p"])) for row in rows]
    assert keys == sorted(keys)
    assert any(row["open"] for row in rows)


class _Reader(HTMLParser):
    """The elements of a page, and the text outside styles and scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""
        self.text += " "

    def handle_data(self, data: str) -> None:
        if self._inside not in ("style", "script"):
            self.text += data


def read(page: str) -> _Reader:
    reader = _Reader()
    reader.feed(page)
    return reader


def test_the_page_names_nothing_outside_itself_and_its_policy_forbids_it(found: Found) -> None:
    page = report_page(found)
    reader = read(page)
    for tag, attributes in reader.elements:
        assert not attributes.keys() & {"src", "srcset", "action", "style", "background"}
        assert not [name for name in attributes if name.startswith("on")], tag
        if "href" in attributes:
            assert str(attributes["href"]).startswith(("#", "data:,"))
    (policy,) = [
        a["content"] for _, a in reader.elements if a.get("http-equiv") == "Content-Security-Policy"
    ]
    assert str(policy).startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in str(policy)
    assert "http" not in str(policy)
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|innerHTML|eval\(", page)


def test_what_is_said_above_the_table_is_the_librarys(found: Found) -> None:
    _, gold = world_dataset("easy", 60)
    scores = evaluate(found, gold)
    content = report_content(found, scores)
    text = " ".join(read(report_page(found, scores)).text.split())
    assert content["verdict"]["headline"] in text
    for reason in found.verdict.reasons:
        assert reason in text
    assert found.dataset.task.question in text
    assert f"{found.run.planned:,} planned, {found.run.answered:,} answered" in text
    tokens = sum(p.usage["prompt_tokens"] for p in found.predictions.values())
    assert f"{tokens:,} in prompts" in text
    for method, values in scores.scores.items():
        assert method in text
        assert f"{values['accuracy'].estimate:.3f} [{values['accuracy'].lower:.3f}" in text
    for bin in scores.curve:
        assert f"{bin.examples} {bin.confidence:.3f} {bin.accuracy:.3f}" in text
    rounds = found.rounds()
    assert rounds["answers"].sum() == found.evidence.t
    assert [r["agreement"] for r in content["rounds"]] == rounds["agreement"].tolist()
    summary = found.evidence_summary()
    assert f"direct confidence {summary['pieces'][0]:,}" in text
    counts = np.array(histogram(found)["counts"])
    assert counts.sum() == len(found.labels)
    assert counts.sum(axis=1).tolist() == [
        int((found.labels["label"] == c).sum()) for c in range(2)
    ]
    data = page_rows(found, scores)
    assert {row["id"]: row["gold"] for row in data["rows"]} == dict(gold.labels)


def test_classes_without_a_row_share_a_line_where_there_are_many() -> None:
    names = tuple(f"Kind {c}" for c in range(30))
    data = Dataset("many", [Example(f"text {i}") for i in range(20)], task=Task("Which?", names))
    settings = replace(SETTINGS, calls_per_example=1.0)
    found = elicit(data, Recorder(), settings=settings, solver=LBFGS(starts=1))
    page = report_page(found)
    counts = found.labels["name"].value_counts()
    rows = re.search(r'<table class="plain counts">.*?</table>', page, re.S)
    assert rows
    said = " ".join(read(rows[0]).text.split())
    for name in names:
        assert (f"{name} {counts.get(name, 0)}" in said) == (name in counts), said
    assert f"{30 - len(counts)} other classes 0" in said
    assert "<summary>Shares of the classes</summary>" in page


def test_texts_are_shown_as_texts(tmp_path: Path) -> None:
    found = labelled()
    path = found.report(tmp_path / "page.html")
    page = path.read_text("utf-8")
    reader = read(page)
    assert [tag for tag, _ in reader.elements if tag == "script"] == ["script"] * 2
    for tag in ("img", "u", "s", "i"):
        assert tag not in [name for name, _ in reader.elements]
    for said in ("<u>texts</u>", "<i>no</i>", "Is it <b>odd</b>?", "<s>lengths</s>"):
        assert said in reader.text
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    shown = set(json.loads(text)["texts"])
    assert {example.text for example in found.dataset.examples} <= shown
    # In the prompt a text that poses as a shot is quoted, as it was asked.
    quoted = [t for other in json.loads(text)["quoted"].values() for t in other.values()]
    assert any("| Answer: yes" in text for text in quoted)


def test_a_page_has_room_for_so_much(found: Found, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_rows, "ROOM", 0)
    monkeypatch.setattr(report_rows, "TEXT_ROOM", 1200)
    monkeypatch.setattr(report_rows, "MOST_SHOWN", 20)
    data = page_rows(found)
    assert (len(data["rows"]), data["total"]) == (20, len(found.labels))
    assert data["cut"]
    assert all("cut here" in t for t in data["texts"] if len(t) > data["cut"])


def test_room_is_counted_in_bytes_of_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    signs = ("字", "<", "\n", "a", "字" * 9)
    texts = [Example(f"{number} {signs[number % 5] * 1000}") for number in range(20)]
    few = replace(SETTINGS, calls_per_example=3.0)
    found = elicit(Dataset("long", texts), Lengths(), settings=few, solver=LBFGS(starts=1))

    def size(room: int) -> int:
        monkeypatch.setattr(report_rows, "ROOM", room)
        monkeypatch.setattr(report_rows, "TEXT_ROOM", 1000)
        return len(report_page(found).encode())

    assert 19_000 < size(60_000) - size(40_000) < 21_000
    assert size(60_000) < size(10**9) - 100_000


def test_runs_solved_together_have_their_prompts_too(kept: tuple[Found, Store]) -> None:
    found, _ = kept
    again = elicit(
        found.dataset, SimulatedModel("easy"), settings=SETTINGS, solver=LBFGS(starts=1), seed=1
    )
    both = together([found, again])
    rows = page_rows(both)["rows"]
    answers = [pull for row in rows for pull in row["pulls"] if len(pull) > 3]
    assert len(answers) == both.evidence.t
    assert all(pull[8] is not None for pull in answers)


def test_a_result_without_its_answers_has_a_page_all_the_same(found: Found) -> None:
    rows = page_rows(replace(found, predictions={}))["rows"]
    answers = [pull for row in rows for pull in row["pulls"] if len(pull) > 3]
    assert all(pull[4] is pull[8] is pull[9] is None for pull in answers)


def test_a_place_where_no_page_can_be_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=r"has to end in \.html"):
        check_report(tmp_path / "report.pdf")
    with pytest.raises(InputError, match="there is no folder"):
        check_report(tmp_path / "nowhere" / "report.html")
    monkeypatch.setitem(__import__("sys").modules, "jinja2", None)
    with pytest.raises(MissingExtra, match="needs the extra `report`"):
        check_report(tmp_path / "report.html")


def test_a_correction_is_marked_and_its_pulls_are_whole(found: Found) -> None:
    id = str(found.labels.sort_values("probability")["id"].iloc[0])
    made = found.corrected({id: 1 - int(found.labels.set_index("id")["label"][id])})
    rows = {row["id"]: row for row in page_rows(made)["rows"]}
    assert [row["id"] for row in rows.values() if row.get("corrected")] == [id]
    assert max(rows[id]["p"]) == 1.0
    pulls = sum(pull[2] or 0 for pull in rows[id]["pulls"])
    assert pulls == pytest.approx(rows[id]["odds"][2], abs=1e-3)


def test_how_a_run_ended_is_said_as_it_was(found: Found) -> None:
    n = len(found.dataset)

    def said(planned: int, answered: int, settled: bool | None, budget: int = 8 * n) -> str:
        run = replace(found.run, planned=planned, answered=answered, failed=0)
        made = replace(found, run=run, settled=settled, budget=budget)
        return str(report_content(made)["cost"]["ended"])

    assert report_content(found)["cost"]["ended"] == "It ended with its budget."
    assert said(2 * n, 2 * n, True) == (
        f"It ended before its budget: the labels had settled, and {6 * n} calls were saved."
    )
    assert said(2 * n, 2 * n, False) == (
        f"{2 * n} of {8 * n} calls were asked so far; the same `run` goes on."
    )
    # Nobody looked whether they had.
    assert said(2 * n, 2 * n, None) == f"{2 * n} of {8 * n} calls were asked."
    # What could be spent ended in the middle of a round.
    assert said(3 * n, 2 * n, None) == (
        f"{2 * n} of {8 * n} calls were asked so far; the same `run` goes on."
    )
    cut = replace(found, run=replace(found.run, planned=found.run.answered + 42))
    assert "answered, 0 failed, 42 not asked;" in report_page(cut)


def test_texts_that_repeat_have_all_their_ids_and_are_counted_as_rows_too() -> None:
    records = [{"id": f"C-{i}", "text": f"The lamp number {i % 20} is lit."} for i in range(60)]
    task = Task("Good?", ("no", "yes"))
    data = Dataset.from_records(records, text="text", id="id", task=task)
    found = elicit(data, SimulatedModel("easy"), settings=SETTINGS, solver=LBFGS(starts=1))
    page = page_rows(found)
    assert (page["total"], page["of_rows"]) == (20, 60)
    ids = {row["id"]: row["ids"] for row in page["rows"]}
    assert ids["C-15"] == ["C-15", "C-35", "C-55"]
    assert sorted(id for own in ids.values() for id in own) == sorted(data.origin.ids)
    verdict = report_content(found)["verdict"]
    assert verdict["rows"]["n"] == 60
    assert verdict["rows"]["counts"] == [3 * count for _, count in verdict["counts"]]
    table = found.table()
    assert verdict["rows"]["open"] == table["open"].sum()


def test_a_page_says_what_its_corrections_are_of(found: Found) -> None:
    assert page_rows(found)["run"] == run_named(found)
    assert found.dataset.fingerprint in run_named(found) and found.run.id in run_named(found)
    told = replace(found, place=str(Path.cwd() / "c.db"))
    said = f"consilience review --store c.db --run {found.run.id} --corrections corrections.csv"
    assert said in report_page(told)
