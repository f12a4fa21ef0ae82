"""Relations that a model proposes: which pairs are asked, what is made of the answers, the cost."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import log_softmax

from command import consilience
from consilience.data.dataset import Dataset, Example
from consilience.data.relations import AtMostOne, Equal, ExactlyOne, Relation
from consilience.data.task import Task
from consilience.elicitation.cost import estimate
from consilience.elicitation.proposals import STRONGEST, TASK, candidates, propose, settings_for
from consilience.elicitation.session import elicit
from consilience.elicitation.settings import Settings
from consilience.errors import InputError, ServerError
from consilience.models.base import Answer, Request
from consilience.models.price import Price
from consilience.planning.embeddings import TfidfSvd
from consilience.planning.planner import PlanSettings
from consilience.prompts.framing import Style
from consilience.solvers.lbfgs import LBFGS
from consilience.store.database import Store
from made_up import FILE_OPTIONS, TASK_OPTIONS, claims, write_csv
from wire_model import PseudoModel, number_of
from wire_server import serve

STATEMENT = re.compile(r"gorbel (\d+)( never)? (\w+)")
VERBS = ("sings", "chants", "swims", "digs")
MEANING = {"sings": "song", "chants": "song", "swims": "water", "digs": "earth"}


def statements(groups: int = 6) -> Dataset:
    """Of each gorbel: that it sings, that it chants, that it never sings, that it swims."""
    made = []
    for g in range(groups):
        for what in ("sings", "chants", "never sings", "swims"):
            made.append(Example(f"The gorbel {g} {what}.", f"gorbel {g}"))
    return Dataset("gorbels", made)


def meaning(text: str) -> tuple[str, str, bool]:
    """Which animal a statement is about, what it does, and whether it does."""
    found = STATEMENT.search(text)
    assert found is not None, text
    return found[1], MEANING[found[3]], found[2] is None


def truth(text: str) -> bool:
    """Whether a statement is right: by a hash of what it is about."""
    animal, what, does = meaning(text)
    return bool(number_of("truth", animal, what) % 2) is does


def rule(one: str, other: str) -> int:
    """The class of a pair: 1 the same, 2 contradicts, 0 neither."""
    (animal, what, does), (animal2, what2, does2) = meaning(one), meaning(other)
    if (animal, what) != (animal2, what2):
        return 0
    return 1 if does is does2 else 2


def of_pair(prompt: str) -> tuple[str, str]:
    """The two statements of a prompt about a pair, in the order shown."""
    said = re.findall(r"statement:\n(.+)", prompt)
    return said[0], said[1]


Said = Callable[[str, str], np.ndarray]


def sure(nats: float = 4.0) -> Said:
    """The rule's class, so many nats ahead of the two others."""
    return lambda one, other: nats * np.eye(3)[rule(one, other)]


@dataclass
class Judge:
    """A model that knows how statements are related, and little of whether they are right.

    `said` gives the logits of a pair, `liking` those of a letter, `fault` is told each pair.
    """

    said: Said = field(default_factory=sure)
    liking: float = 0.0
    noise: float = 2.0
    knows: float = 1.0
    fault: Callable[[Request], None] = lambda request: None
    name: str = "judge"
    style: Style = "text"
    settings: Mapping[str, Any] = field(default_factory=dict)
    pairs: list[Request] = field(default_factory=list)
    others: list[Request] = field(default_factory=list)

    async def ask(self, request: Request) -> Answer:
        prompt = str(request.prompt)
        if len(request.label_names) == 3:
            self.pairs.append(request)
            self.fault(request)
            logits = self.said(*of_pair(prompt))
            logits = logits + self.liking * np.array([n == "A" for n in request.label_names])
        else:
            self.others.append(request)
            text = prompt.rsplit("\n\n", 1)[-1]
            # The same error in every framing, so that asking again does not help.
            error = np.random.default_rng(number_of("error", text.split("\n")[0])).normal()
            lead = self.knows * (1 if truth(text) else -1) + self.noise * error
            logits = np.array([0.0, lead])
        usage = {"prompt_tokens": len(prompt) // 4, "calls": 1}
        return Answer(tuple(log_softmax(logits).tolist()), (True,) * len(logits), 1.0, usage)


def proposed(data: Dataset, model: Judge, **given: Any) -> Any:
    with Store() as store:
        return propose(data, model, store=store, **({"neighbours": 3} | given))


def by_rule(data: Dataset) -> set[tuple[str, tuple[str, ...]]]:
    """The relations that the rule makes, by name and members."""
    texts = dict(zip(data.ids, data.texts, strict=True))
    names = {1: "equal", 2: "at-most-one"}
    return {
        (names[rule(texts[a], texts[b])], (a, b))
        for a in data.ids
        for b in data.ids
        if a < b and rule(texts[a], texts[b])
    }


def edges(relations: tuple[Relation, ...]) -> set[tuple[str, tuple[str, ...]]]:
    return {(r.name, r.members) for r in relations}


# --- which pairs -----------------------------------------------------------------------------


def of(data: Dataset, neighbours: int, **given: Any) -> set[frozenset[str]]:
    vectors = TfidfSvd().embed(data.texts)
    pairs, about = candidates(data, vectors, neighbours, **given)
    assert set(about) == set(pairs.ids)
    return {frozenset(pair) for pair in about.values()}


def test_pairs_stay_in_their_group_and_stand_in_both_orders() -> None:
    data = statements()
    pairs, about = candidates(data, TfidfSvd().embed(data.texts), 2)
    groups = dict(zip(data.ids, data.groups, strict=True))
    assert all(groups[a] == groups[b] and a != b for a, b in about.values())
    orders = set(about.values())
    assert len(orders) == len(pairs) and orders == {(b, a) for a, b in orders}
    for id, (a, b) in about.items():
        texts = [data.texts[data.index[x]] for x in (a, b)]
        assert list(of_pair(pairs.texts[pairs.index[id]])) == texts
    assert pairs.task is TASK and pairs.relations == () and "gorbels" in pairs.note


def test_an_example_alone_in_its_group_has_no_pair() -> None:
    data = statements(2)
    more = Dataset("more", [*data.examples, Example("The gorbel 9 digs."), Example("It is late.")])
    assert of(more, 2) == of(data, 2)


@pytest.mark.parametrize("neighbours", [1, 2, 3, 10])
def test_each_example_is_compared_with_its_nearest(neighbours: int) -> None:
    """Vectors on a line: nearest are those next to it, and everybody has as many as there are."""
    data = Dataset("line", [Example(f"The stone number {i}", "one") for i in range(6)])
    angle = np.array([0.0, 0.1, 0.25, 0.5, 0.9, 1.4])
    vectors = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    _, about = candidates(data, vectors, neighbours)
    wanted = set()
    for i in range(6):
        nearest = sorted((abs(angle[i] - angle[j]), j) for j in range(6) if j != i)
        wanted |= {frozenset((data.ids[i], data.ids[j])) for _, j in nearest[:neighbours]}
    assert {frozenset(pair) for pair in about.values()} == wanted


def test_a_pair_that_is_tied_is_not_asked_about() -> None:
    data = statements(1)
    a, b, c, d = data.ids
    assert len(of(data, 3)) == 6
    fact = data.with_relations([Equal((a, b))])
    assert of(fact, 3) == of(data, 3) - {frozenset((a, b))}
    # With the nearest one tied, the next one takes its place.
    assert all(sum(x in pair for pair in of(fact, 1)) for x in (a, b, c, d))
    prior = data.with_relations([ExactlyOne((b, c, d), prior=True)])
    assert of(prior, 3) == of(data, 3)
    assert of(prior, 3, priors=True) == {frozenset((a, x)) for x in (b, c, d)}


def test_nothing_to_ask_about_is_a_mistake_in_one_line() -> None:
    alone = Dataset("alone", [Example(f"stone {i}") for i in range(3)])
    all_tied = statements(1).with_relations([AtMostOne(statements(1).ids)])
    for data in (alone, all_tied):
        with pytest.raises(InputError, match="nothing to propose") as caught:
            of(data, 2)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="at least one neighbour"):
        of(statements(1), 0)


def test_pairs_do_not_depend_on_the_order_of_the_examples() -> None:
    data = statements(4)
    turned = Dataset("gorbels", reversed(data.examples))
    one = candidates(data, TfidfSvd().embed(data.texts), 2)[0]
    assert one.to_json() == candidates(turned, TfidfSvd().embed(turned.texts), 2)[0].to_json()


# --- what becomes of the answers -------------------------------------------------------------


def test_the_right_edges_are_found_and_no_others() -> None:
    data = statements()
    found = proposed(data, Judge())
    assert edges(found.data.relations) == by_rule(data)
    assert (found.pairs, found.same, found.contrary, found.failed) == (36, 6, 12, 0)
    assert found.asked.calls == 36 * 2 * 3
    p = math.exp(4) / (math.exp(4) + 2)
    assert {round(p, 4)} == {r.strength for r in found.data.relations}
    assert not any(r.prior for r in found.data.relations)
    assert found.data.note == found.sentence
    assert "36 pairs" in found.sentence and "its opinion" in found.sentence


def test_relations_that_were_there_stay() -> None:
    data = statements(2)
    there = [ExactlyOne(data.ids[:3], prior=True)]
    found = proposed(data.with_relations(there, "Two gorbels."), Judge())
    assert set(found.data.relations) > set(there)
    assert found.data.note.startswith("Two gorbels. Of ")
    assert (found.data.examples, found.data.task) == (data.examples, data.task)


def test_what_the_model_is_unsure_of_is_no_relation() -> None:
    data = statements(3)
    # 1 nat ahead of two others: a probability of 0.576.
    assert proposed(data, Judge(sure(1.0)), threshold=0.58).data.relations == ()
    assert edges(proposed(data, Judge(sure(1.0)), threshold=0.57).data.relations) == by_rule(data)
    none = proposed(data, Judge(sure(0.0)))
    assert none.data.fingerprint == data.fingerprint and (none.same, none.contrary) == (0, 0)


def test_a_model_that_is_certain_is_still_not_taken_at_its_word() -> None:
    found = proposed(statements(2), Judge(sure(80.0)))
    assert {r.strength for r in found.data.relations} == {STRONGEST}


def test_both_orders_count() -> None:
    """One that says "the same" in one order, and nothing in the other, is not believed."""
    data = statements(3)

    def one_way(one: str, other: str) -> np.ndarray:
        return np.log([0.08, 0.9, 0.02] if one < other else [0.9, 0.08, 0.02])

    def both_ways(one: str, other: str) -> np.ndarray:
        return np.log([0.08, 0.9, 0.02])

    assert proposed(data, Judge(one_way), threshold=0.6).data.relations == ()
    every = proposed(data, Judge(both_ways), threshold=0.6)
    assert every.same == every.pairs == 18
    assert {r.strength for r in every.data.relations} == {0.9}


def test_the_liking_for_a_letter_cancels() -> None:
    data = statements(3)
    plain, biased = (proposed(data, Judge(liking=x)).data.relations for x in (0.0, 6.0))
    assert plain == biased


def test_wrong_answers_become_wrong_relations_and_are_called_an_opinion() -> None:
    """Nothing checks a model that is sure of what is wrong; the threshold only asks how sure."""
    data = statements(2)
    wrong = proposed(data, Judge(lambda one, other: 3.0 * np.eye(3)[(rule(one, other) + 1) % 3]))
    assert edges(wrong.data.relations).isdisjoint(by_rule(data)) and wrong.data.relations


def test_with_more_classes_a_contradiction_says_nothing() -> None:
    data = statements(2)
    three = Task("What is it?", ("one", "two", "three"), None, None)
    found = proposed(Dataset("three", data.examples, task=three), Judge())
    assert edges(found.data.relations) == {e for e in by_rule(data) if e[0] == "equal"}
    assert (found.same, found.contrary) == (2, 0)


def test_a_pair_without_all_its_answers_is_counted_and_no_relation() -> None:
    data = statements(3)

    def fails(request: Request) -> None:
        one, other = of_pair(str(request.prompt))
        if {"The gorbel 1 sings.", "The gorbel 1 chants."} == {one, other} and one < other:
            raise ServerError("out of order", body=None)

    with Store() as store:
        found = propose(data, Judge(fault=fails), store=store, neighbours=3)
        assert (found.failed, len(found.asked.failures)) == (1, 3)
        assert "1 have no complete answer" in found.sentence
        missing = by_rule(data) - edges(found.data.relations)
        assert [name for name, _ in missing] == ["equal"]
        # And asked again when the model is back.
        again = propose(data, Judge(), store=store, neighbours=3)
    assert (again.failed, again.asked.calls) == (0, 3)
    assert edges(again.data.relations) == by_rule(data)


def test_answers_without_any_label_are_no_answers() -> None:
    class Mute(Judge):
        async def ask(self, request: Request) -> Answer:
            self.pairs.append(request)
            return Answer((-5.0, -5.0, -5.0), (False, False, False), 0.0)

    found = proposed(statements(2), Mute())
    assert found.failed == found.pairs == 12 and found.data.relations == ()


@pytest.mark.parametrize("threshold", [0.0, 0.3, 1.0, float("nan")])
def test_a_threshold_that_is_none(threshold: float) -> None:
    with pytest.raises(InputError, match="threshold of a proposal"):
        proposed(statements(1), Judge(), threshold=threshold)


# --- asked once, stored, counted beforehand --------------------------------------------------


def test_nothing_is_asked_twice_and_the_cost_is_known_before(tmp_path: Path) -> None:
    data, path = statements(), tmp_path / "s.db"
    with Store(path) as store:
        pairs, _ = candidates(data, TfidfSvd().embed(data.texts), 2)
        said = estimate(pairs, Judge(), settings_for(pairs), store)
        first = propose(data, Judge(), store=store, neighbours=2)
        assert (said.calls, said.known) == (first.asked.calls, 0)
        assert said.prompt_tokens == pytest.approx(first.asked.prompt_tokens, rel=0.02)
        after = estimate(pairs, Judge(), settings_for(pairs), store)
        assert (after.calls, after.known) == (0, said.calls)
        assert after.money is None and (after + said).calls == said.calls
        assert (said + said).prompt_tokens == 2 * said.prompt_tokens
        priced = estimate(pairs, Judge(), settings_for(pairs), store, price=Price(3.0))
        assert (priced + priced).money == pytest.approx(2 * (priced.money or 0))
        assert (priced + after).money is None
    with Store(path) as store:
        model = Judge()
        again = propose(data, model, store=store, neighbours=2, concurrency=1)
        assert model.pairs == [] and again.asked.known == said.calls
        assert again.data.to_json() == first.data.to_json()
        more = propose(data, model, store=store, neighbours=3)
        assert more.pairs == 36 and more.asked.known == said.calls
        assert store.dataset(pairs.fingerprint).to_json() == pairs.to_json()
        assert store.verify() == []


# --- what it is worth ------------------------------------------------------------------------


QUICK = Settings(calls_per_example=3.0, plan=PlanSettings(shots=4), settled=0.0)


def accuracy(data: Dataset, model: Judge) -> float:
    found = elicit(data, model, settings=QUICK, solver=LBFGS(starts=2))
    right = [
        truth(text) == label for text, label in zip(data.texts, found.labels["label"], strict=True)
    ]
    return float(np.mean(right))


@pytest.mark.slow
def test_right_proposals_do_not_cost_accuracy() -> None:
    data, model = statements(40), Judge()
    assert accuracy(proposed(data, model).data, model) >= accuracy(data, model) + 0.02


# --- the command -----------------------------------------------------------------------------


class Contrarian(PseudoModel):
    """A model for which any two claims contradict each other."""

    def _believes(self, text: str) -> dict[str, float]:
        listed = dict(re.findall(r"^([A-C])\. They (\w+)", text, re.MULTILINE))
        for letter, word in listed.items():
            if word == "contradict":
                return {letter: 14.0}
        return super()._believes(text)


@pytest.fixture(scope="module")
def server():
    with serve("vllm", model=Contrarian(world=True)) as served:
        yield served


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Any) -> list[Any]:
    monkeypatch.chdir(tmp_path)
    path = write_csv(claims(12), tmp_path / "claims.csv")
    small = [
        "--calls-per-example",
        3,
        "--set",
        "planning.settled=0",
        "--set",
        "planning.shots=4",
        "--set",
        "model.concurrency=4",
    ]
    on = ["--model", "openai:tiny", "--base-url", server.url, "--store", "s.db"]
    return ["run", path, *FILE_OPTIONS, "--label", "truth", *on, *small]


def test_the_command_asks_first_and_keeps_what_was_proposed(words: list[Any]) -> None:
    dry = json.loads(
        consilience(*words, "--set", "relations.propose=1", "--dry-run", "--json").stdout
    )
    usual = json.loads(consilience(*words, "--dry-run", "--json").stdout)
    assert dry["calls_for_pairs"] == 6 * 2 * 3 and "calls_for_pairs" not in usual
    assert dry["calls"] == usual["calls"] + dry["calls_for_pairs"]
    assert dry["prompt_tokens"] > usual["prompt_tokens"] + 36 * 50
    assert not Path("s.db").exists()

    first = consilience(*words, "--set", "relations.propose=1")
    assert "pairs, round 0: 36 queries" in first.stderr
    assert "Of 6 pairs the model itself says that 0 say the same and 6 contradict" in first.stderr
    assert "soft relations, its opinion" in first.stdout
    again = consilience(*words, "--set", "relations.propose=1")
    assert again.stdout == first.stdout
    assert "36 of them in the store" in again.stderr and " 0 calls made" in again.stderr
    known = json.loads(
        consilience(*words, "--set", "relations.propose=1", "--dry-run", "--json").stdout
    )
    assert (known["known"], known["calls"], known["calls_for_pairs"]) == (36 + 36, 0, 0)
    assert "spend: nothing; the store has the answers to all 72 calls" in again.stderr

    solved = consilience("solve", "--store", "s.db").stdout
    id = next(csv.DictReader(io.StringIO(solved)))["row"]
    told = json.loads(consilience("explain", id, "--store", "s.db", "--json").stdout)
    (soft,) = [row["kind"] for row in told if "soft" in row["kind"]]
    assert re.fullmatch(r"soft relation \(0\.\d+\)", soft)
    scored = consilience("evaluate", words[1], *FILE_OPTIONS, "--label", "truth", "--store", "s.db")
    assert scored.stdout == first.stdout


def test_it_is_off_by_default_and_one_line_where_it_cannot_be(words: list[Any]) -> None:
    plain = consilience(*words).stdout
    assert (
        consilience(*words, "--set", "relations.propose=0").stdout == plain and "soft" not in plain
    )
    assert len(json.loads(consilience("store", "runs", "s.db", "--json").stdout)) == 1
    done = consilience(
        "run",
        words[1],
        *FILE_OPTIONS,
        "--model",
        "simulated:easy",
        "--set",
        "relations.propose=1",
        code=2,
    )
    assert done.stderr.count("\n") == 1 and "leave out relations.propose" in done.stderr
    bare = [
        "run",
        words[1],
        "--text",
        "{question} {claim}",
        *TASK_OPTIONS,
        *words[words.index("--model") :],
    ]
    done = consilience(*bare, "--set", "relations.propose=1", code=2)
    assert "nothing to propose" in done.stderr and "Traceback" not in done.stderr
