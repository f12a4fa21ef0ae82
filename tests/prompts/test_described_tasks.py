"""Descriptions of classes and an instruction: in the prompt where given, else nothing changes."""

from __future__ import annotations

import pytest

import consilience as cs
from consilience.errors import InputError
from consilience.models import open_model
from consilience.prompts.framing import framings, render
from consilience.store.runner import requests

NAMES = ("billing", "technical", "account")
QUESTION = "Which team should answer?"
DESCRIBED = {"billing": "money,\n  invoices", "technical": "", "account": "logins"}
TWO = {"no": "it can wait", "yes": "somebody waits"}
SENTENCES = {"statement": "It is urgent", "opposite": "It can wait"}


def keys(task: cs.Task, names: list[str]) -> list[str]:
    """The keys in the store of one question in each of the framings."""
    data = cs.Dataset("one", [cs.Example("The router is broken.")], task=task)
    made = framings(task, names)
    queries = [cs.Query(data.ids[0], framing=framing.name) for framing in made]
    return [key for key, _ in requests(queries, data, made, open_model("simulated:easy"))]


def test_descriptions_stand_in_the_prompt_behind_the_name_of_their_class() -> None:
    task = cs.Task(QUESTION, DESCRIBED)
    assert task.classes == NAMES and task.descriptions == ("money, invoices", "", "logins")
    one, other = framings(task, ["names"])
    assert one.instruction == (
        "Which team should answer? Answer with one of: billing, technical, account.\n"
        "billing: money, invoices\naccount: logins"
    )
    assert other.instruction.endswith("\naccount: logins\nbilling: money, invoices")
    letters = framings(task, ["letters"])[0]
    assert letters.instruction.splitlines()[1:] == [
        *("A. technical", "B. billing: money, invoices", "C. account: logins")
    ]
    assert not any("logins" in f.instruction for f in framings(task, ["sets"]))


def test_a_sentence_is_described_by_what_makes_it_true() -> None:
    plain, negated = framings(cs.Task("Is it urgent?", TWO, **SENTENCES), ["plain", "negated"])
    assert plain.instruction.endswith("\nFalse: it can wait\nTrue: somebody waits")
    assert negated.instruction.endswith("\nTrue: it can wait\nFalse: somebody waits")


@pytest.mark.parametrize("names", [["names"], ["plain"], ["negated"], ["letters"], ["sets"]])
def test_where_nothing_is_described_every_byte_and_every_key_stays(names: list[str]) -> None:
    bare = cs.Task("Is it urgent?", tuple(TWO), **SENTENCES)
    for same in (
        cs.Task("Is it urgent?", dict.fromkeys(TWO, ""), **SENTENCES),
        cs.Task("Is it urgent?", list(TWO), **SENTENCES, instruction=" "),
    ):
        assert same == bare
        assert [render(f, "t") for f in framings(same, names)] == [
            render(f, "t") for f in framings(bare, names)
        ]
        assert keys(same, names) == keys(bare, names)
    assert set(bare.to_json()) == {"question", "classes", "statement", "opposite"}


@pytest.mark.parametrize("names", [["names"], ["plain"], ["negated"], ["letters"]])
@pytest.mark.parametrize("more", [{"classes": TWO}, {"instruction": "Read it twice."}])
def test_what_is_said_more_makes_other_predictions(
    names: list[str], more: dict[str, object]
) -> None:
    bare = {"question": "Is it urgent?", "classes": tuple(TWO), **SENTENCES}
    said = cs.Task(**{**bare, **more})  # type: ignore[arg-type]
    assert set(keys(said, names)).isdisjoint(keys(cs.Task(**bare), names))  # type: ignore[arg-type]
    data = cs.Dataset("one", [cs.Example("The router is broken.")], task=said)
    again = cs.Dataset.from_json(data.to_json())
    assert again.task == said and again.fingerprint == data.fingerprint
    other = cs.Dataset("one", data.examples, task=cs.Task(**bare))  # type: ignore[arg-type]
    assert other.fingerprint != data.fingerprint


def test_an_instruction_opens_the_prompt() -> None:
    task = cs.Task(QUESTION, NAMES, instruction="Read the whole message.\nIgnore greetings.\n")
    for framing in framings(task, ["names", "letters"]):
        start = "Read the whole message.\nIgnore greetings.\nWhich team should answer? Answer "
        assert render(framing, "Hello.").startswith(start)


def test_a_statement_without_its_opposite_drops_the_negated_wording() -> None:
    task = cs.Task("Is it urgent?", ("no", "yes"), statement="It is urgent")
    made = framings(task, ["names", "plain", "negated"])
    assert [f.name for f in made] == ["names-0", "names-1", "plain"]
    assert not any("claim" in f.instruction + f.lead for f in made)
    with pytest.raises(InputError, match="the framing `negated` needs"):
        framings(task, ["negated"])


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("money, invoices", "other"), "Answer with one of: money, invoices; other."),
        (("a, b", "c; d"), "Answer with one of: a, b | c; d."),
        (("a, b", "c; d", "e | f"), 'Answer with one of: "a, b", "c; d", "e | f".'),
        (("time: now", 'so-called "fun"'), 'Answer with one of: time: now, so-called "fun".'),
    ],
)
def test_names_with_signs_are_told_apart(names: tuple[str, ...], said: str) -> None:
    assert framings(cs.Task(QUESTION, names))[0].instruction.endswith(said)


def test_names_that_begin_with_the_same_sign_are_put_behind_letters() -> None:
    assert framings(cs.Task(QUESTION, ('"one"', '"two"')))[0].family == "letters"
    assert framings(cs.Task(QUESTION, ('"one"', "#two")))[0].family == "names"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"classes": "no,yes"}, "are several names, got the one text"),
        ({"classes": ("no", " ")}, "a text that is not empty"),
        ({"classes": ("no", "yes"), "descriptions": ("one",)}, "1 descriptions do not fit 2"),
    ],
)
def test_a_task_that_cannot_be(more: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        cs.Task(QUESTION, **more)  # type: ignore[arg-type]
