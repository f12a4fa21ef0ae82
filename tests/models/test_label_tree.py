"""Label names that begin alike are asked word by word, and classes of any number by codes."""

from __future__ import annotations

import math

import pytest

from consilience.data.task import Task
from consilience.elicitation.session import elicit
from consilience.elicitation.settings import Settings
from consilience.errors import InputError
from consilience.models.base import Request
from consilience.models.label_logprobs import LabelLogprobs
from consilience.models.label_tree import Branch, joined_logprobs, label_tree
from consilience.models.simulated import SimulatedModel, world_dataset
from consilience.planning.planner import PlanSettings
from consilience.prompts.framing import BRANCH, framings, render
from consilience.prompts.query import Query
from consilience.solvers.lbfgs import LBFGS
from consilience.store.database import Store
from wire_client import QUICK, asked, found
from wire_model import variants
from wire_server import serve

MANY = Task("Which?", [f"card problem {i}" for i in range(40)], None, None)
CODES = framings(MANY)[0]


def test_names_part_where_their_words_do() -> None:
    tree = label_tree(("New York City", "New York State", "New Jersey", "Ohio"))
    assert tree == Branch(
        "",
        ("New", "Ohio"),
        (
            Branch("New", ("York", "Jersey"), (Branch("New York", ("City", "State"), (0, 1)), 2)),
            3,
        ),
    )
    flat = label_tree(("yes, it is", "no", "Yes"))
    assert flat == Branch("", ("yes, it is", "no", "Yes"), (0, 1, 2))
    with pytest.raises(InputError, match=r"'card' is the beginning of another.*`codes`"):
        label_tree(("card", "card lost"))


def test_a_bound_anywhere_bounds_the_name() -> None:
    tree = label_tree(("A B", "A C", "D"))
    read = {
        "": LabelLogprobs.of([math.log(0.5), math.log(0.4)], [True, True]),
        "A": LabelLogprobs.of([math.log(0.9), math.log(0.05)], [True, False]),
    }
    made = joined_logprobs(tree, read, 3)
    assert made.exact == (True, False, True)
    assert [math.exp(v) for v in made.logprobs] == pytest.approx([0.45, 0.025, 0.4])
    assert made.mass == pytest.approx(0.85)


@pytest.mark.parametrize("k", [2, 26, 27, 40, 300, 5000])
def test_codes_are_told_apart_word_by_word_whatever_their_number(k: int) -> None:
    task = Task("Which?", [f"card problem {i}" for i in range(k)], None, None)
    one, two = framings(task, ["codes"])
    assert one.label_names == two.label_names[::-1] and len(set(one.label_names)) == k
    assert len({len(name) for name in one.label_names}) == 1
    steps = list(label_tree(one.label_names).branches())
    assert max(len(step.options) for step in steps) <= BRANCH
    assert {letter for name in one.label_names for letter in name.split()} <= set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    )
    for made in (one, two):
        lines = dict(line.split(". ", 1) for line in made.instruction.splitlines()[1:])
        assert [lines[code] for code in made.label_names] == list(task.classes)
    assert framings(task)[0].family == ("codes" if k > 26 else "letters")


@pytest.mark.parametrize(("api", "style"), [("completions", "text"), ("chat", "chat-prefill")])
def test_a_server_is_asked_word_by_word(api: str, style: str) -> None:
    text = "The 3rd stone of the north is warm."
    prompt = render(CODES, text, [("Snow is fire.", 7)], style)
    query = Request(Query(text, framing="codes-0"), prompt, CODES.label_names)
    with serve("llama-server") as server:
        capabilities = found(server.url, api=api, style=style, k=400, k_max=400)
        (answer,) = asked(capabilities, [query])
        assert len(server.questions) == 4
        texts = {server.text(r["body"]): r for r in server.questions}
        whole = {}
        for code in CODES.label_names:
            first, second = code.split()
            (start,) = [t for t in texts if t.endswith("Answer:")]
            begun = f"{start} {first}"
            # The pseudo model has tokens for A to D alone; other letters are bytes.
            steps = ((start, first), (begun, second))
            whole[code] = [
                math.log(sum(math.exp(server.model.logprobs(t)[i]) for i in variants(letter)))
                for t, letter in steps
            ]
    assert all(answer.exact)
    for code, value in zip(CODES.label_names, answer.logprobs, strict=True):
        assert value == pytest.approx(sum(whole[code]), abs=1e-6)
    assert answer.usage["completion_tokens"] == 4 and set(answer.raw["branches"]) == {"A", "B", "C"}


def test_a_server_that_continues_nothing_is_refused_before_any_question() -> None:
    query = Request(Query("x"), [{"role": "user", "content": "x:"}], CODES.label_names)
    with serve("openai-chat") as server:
        with pytest.raises(InputError, match=r"begin with the same word \('A'\).*completions"):
            asked(found(server.url, api="chat", style="chat"), [query], patience=QUICK)
        assert server.questions == []


@pytest.mark.slow
def test_thirty_classes_that_begin_alike_are_labelled() -> None:
    data, gold = world_dataset("k30", 150)
    settings = Settings(calls_per_example=4, plan=PlanSettings(shots=30))
    with Store() as store:
        model, solver = SimulatedModel("k30"), LBFGS(starts=1)
        labelled = elicit(data, model, settings=settings, store=store, solver=solver)
    assert labelled.evidence.framings == ("codes-0", "codes-1")
    truth = [gold.labels[id] for id in data.ids]
    right = (labelled.soft_labels.argmax(axis=1) == truth).mean()
    # The learner itself knows 0.36; a guess is right once in thirty.
    assert right > 0.25
