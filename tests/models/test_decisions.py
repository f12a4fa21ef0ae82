"""Models behind endpoints for decisions: both forms, against a server that checks their schema."""

from __future__ import annotations

import asyncio
import json
import math
from pathlib import Path
from typing import Any

import pytest

import consilience as cs
from command import consilience
from consilience.data.dataset import Dataset, Example
from consilience.data.task import Task
from consilience.elicitation.settings import Settings
from consilience.errors import AnswerError, InputError, ServerError
from consilience.models.base import Model, Request
from consilience.models.budget import Budget
from consilience.models.decisions import DecisionsModel, probe_decisions, read_decision
from consilience.planning.planner import PlanSettings
from consilience.prompts.framing import framings, render
from consilience.prompts.query import Query
from decision_server import MODEL, class_of, deciding
from made_up import TASK_OPTIONS, write_csv
from wire_client import KEYS, QUICK

NAMES = ("False", "True")


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*KEYS, "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def request(text: str, shots: list[tuple[str, int]] | None = None) -> Request:
    framing = framings(Task())[0]
    prompt = render(framing, text, shots or [], "text")
    return Request(Query(text, framing=framing.name), prompt, framing.label_names)


def asked(model: DecisionsModel, *requests: Request) -> list[Any]:
    async def work() -> list[Any]:
        try:
            return [await model.ask(r) for r in requests]
        finally:
            await model.close()

    return asyncio.run(work())


@pytest.mark.parametrize("api", ["decisions", "systemone"])
def test_both_forms_give_the_servers_own_probabilities(api: Any) -> None:
    shots = [(f"The lamp {i} is lit.", class_of(f"The lamp {i} is lit.")) for i in range(8)]
    with deciding() as server:
        model = DecisionsModel(MODEL, server.url, api=api, patience=QUICK)
        assert isinstance(model, Model)
        for question in (request("The door is shut."), request("The door is shut.", shots)):
            (answer,) = asked(model, question)
            said = server.probabilities(str(question.prompt), list(NAMES))
            assert [math.exp(v) for v in answer.logprobs] == pytest.approx(list(said.values()))
            assert answer.exact == (True, True) and answer.mass == pytest.approx(1, abs=1e-3)
            assert answer.usage["prompt_tokens"] == len(str(question.prompt)) // 4
        assert {r["form"] for r in server.requests} == {api}


@pytest.mark.parametrize(("deaf", "moves"), [(False, True), (True, False)])
@pytest.mark.parametrize("form", ["decisions", "systemone"])
def test_a_probe_finds_the_form_and_says_whether_shots_move_answers(
    deaf: bool, moves: bool, form: str
) -> None:
    with deciding(deaf=deaf, forms=(form,), mass=0.8) as server:
        found = asyncio.run(probe_decisions(server.url, MODEL, patience=QUICK))
        assert (found.api, found.shots_move, found.base_url) == (form, moves, server.url)
        assert found.calls == (2 if form == "decisions" else 3)
        assert found.mass == pytest.approx(0.8, abs=1e-3)
        assert type(found).from_json(json.loads(json.dumps(found.to_json()))) == found
        # Three shots of its class, 0.7 nats each, turned round.
        assert found.shot_effect == pytest.approx(0.0 if deaf else 4.2, abs=0.02)
        assert found.sentence.startswith("shots move" if moves else "shots do not move")
    with deciding(forms=()) as server, pytest.raises(ServerError, match=r"/systemone.*HTTP 404"):
        asyncio.run(probe_decisions(server.url, MODEL, patience=QUICK))


def test_a_rounded_zero_and_a_choice_left_out_are_bounds() -> None:
    said = {"A": 0.9, "B": 0.0, "C": 0.04}
    listed = [{"value": name, "probability": p} for name, p in said.items()]
    mapped = {"answers": {"answer": {"probabilities": said, "label_mass": 0.5}}}
    for response in ({"answers": [{"name": "answer", "probabilities": listed}]}, mapped):
        whole = 0.5 if response is mapped else 1.0
        made = read_decision(response, ["A", "B", "C", "D"])
        assert made.exact == (True, False, True, False)
        values = [math.exp(v) / whole for v in made.logprobs]
        assert values == pytest.approx([0.9, 1e-4, 0.04, 0.0601], abs=1e-6)
        assert made.mass == pytest.approx(0.94 * whole)


@pytest.mark.parametrize(
    ("response", "said"),
    [
        ({}, "no decision"),
        ({"answers": []}, "no decision"),
        ({"answers": {"answer": {"noul": 0.3}}}, "no probabilities"),
        ({"answers": {"answer": {"probabilities": {"A": 1.4}}}}, "1.4 stands where"),
        ({"answers": {"answer": {"probabilities": {"A": True}}}}, "True stands where"),
        ({"answers": {"answer": {"probabilities": {"A": 0.9, "B": 0.9}}}}, "sum to 1.8"),
        ({"answers": {"answer": {"probabilities": {"C": 1.0}}}}, "none of the choices"),
    ],
)
def test_an_answer_that_cannot_be_is_none(response: Any, said: str) -> None:
    with pytest.raises(AnswerError, match=said):
        read_decision(response, ["A", "B"])


def test_what_is_sent_is_what_a_real_server_takes() -> None:
    decision = pytest.importorskip("transformers.decision", reason="transformers has no decisions")
    names = [f"kind of thing {i}" for i in range(20)]
    model = DecisionsModel(MODEL, "http://localhost:1/v1", api="systemone")
    body = model._body("Which?\n\na\nAnswer:", names)
    (parsed,) = decision.parse_questions(body["questions"], decision.DecisionConfig())
    assert list(parsed.options) == names
    said = {"answers": {"answer": parsed.answer([0.05] * 20)}}
    assert read_decision(said, names).logprobs == pytest.approx([math.log(0.05)] * 20)


def test_a_run_labels_by_decisions_and_one_refused_row_does_not_end_it() -> None:
    data = Dataset("lamps", [Example(f"The lamp number {i} is lit.") for i in range(60)])
    settings = Settings(calls_per_example=4, plan=PlanSettings(shots=4))
    with deciding(refuses="number 7 is") as server:
        model = cs.open_model(f"decisions:{MODEL}", base_url=server.url, api="systemone")
        found = cs.elicit(data, model, settings=settings)
    truth = [class_of(text) for text in data.texts]
    refused = data.texts.index("The lamp number 7 is lit.")
    right = [a == b for a, b in zip(found.soft_labels.argmax(axis=1), truth, strict=True)]
    assert sum(right) - right[refused] == 59
    assert found.run.model == f"decisions:{MODEL}"
    assert set(found.asked.refused.values()) == {"filtered"}


@pytest.mark.parametrize("limit", [{"max_calls": 10}, {"max_tokens": 2000}])
def test_a_budget_is_kept(limit: dict[str, int]) -> None:
    data = Dataset("lamps", [Example(f"The lamp number {i} is lit.") for i in range(60)])
    budget = Budget(**limit)
    with deciding() as server:
        model = DecisionsModel(MODEL, server.url, budget=budget)
        found = cs.elicit(data, model, settings=Settings(calls_per_example=4))
        sent = [request["body"]["input"] for request in server.requests]
    charged = sum(len(text) // 4 for text in sent)
    assert 0 < len(sent) == budget.calls < 240
    assert len(sent) <= limit.get("max_calls", 240)
    assert charged == budget.tokens <= limit.get("max_tokens", charged)
    assert found.asked.ended is not None and "is spent" in found.asked.ended


def test_misuse_is_one_line() -> None:
    for make, said in [
        (lambda: cs.open_model("decisions:x"), "needs the address"),
        (lambda: DecisionsModel("x", "http://h/v1", api="chat"), "decisions, systemone"),  # type: ignore[arg-type]
        (lambda: DecisionsModel("x", "http://h/v1", extra_body={"state": 1}), "may not set state"),
    ]:
        with pytest.raises(InputError, match=said) as caught:
            make()
        assert "\n" not in str(caught.value)


def test_the_command_line_probes_once_and_says_whether_shots_move(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_csv([{"t": f"The lamp number {i} is lit."} for i in range(20)], tmp_path / "l.csv")
    words = ["run", "l.csv", "--text", "t", *TASK_OPTIONS, "--store", "s.db"]
    with deciding(deaf=True, forms=("systemone",)) as server:
        model = ["--model", f"decisions:{MODEL}", "--base-url", server.url]
        dry = consilience(*words, *model, "--calls-per-example", 2, "--dry-run")
        assert server.requests == [] and "calls" in dry.stdout
        done = consilience(*words, *model, "--calls-per-example", 2, "--output", "out.csv")
        assert "shots do not move its answers" in done.stderr
        sent = len(server.requests)
        again = consilience(*words, *model, "--calls-per-example", 2, "--output", "out.csv")
        assert "probed" not in again.stderr and len(server.requests) == sent
        shown = consilience("probe", server.url, "--model", f"decisions:{MODEL}", "--json")
        assert json.loads(shown.stdout)["api"] == "systemone"
        told = consilience("probe", server.url, "--model", f"decisions:{MODEL}")
        assert "shots do not move" in " ".join(told.stdout.split())
        bad = [*words, *model, "--set", "model.top_logprobs=5"]
        assert "leave out model.top_logprobs" in consilience(*bad, code=2).stderr
