"""The pocket world and the recipe of its model: right, repeatable, blind to what is held out."""

from __future__ import annotations

import argparse
import random
import re
import sys
from collections import Counter
from pathlib import Path

import pytest

from consilience.datasets.pocket_world import (
    Claim,
    balanced_topics,
    claims,
    imbalanced,
    popular_claims,
    unanswerable,
)
from consilience.datasets.pocket_world.facts import propositions
from consilience.datasets.pocket_world.world import CLAIM_KINDS, labelled_wordings, sentence
from consilience.prompts.framing import render

TRAINING = Path(__file__).parents[2] / "training"
pytestmark = pytest.mark.skipif(not TRAINING.is_dir(), reason="only in the repository")
sys.path.insert(0, str(TRAINING))

DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
SPOT = {
    "trout are fish": True,
    "fish include whales": False,
    "mammals include whales": True,
    "cellos are instruments": True,
    "Lyon is the capital of France": False,
    "Paris is the capital of France": True,
    "Nepal is in Asia": True,
    "Europe contains Kenya": False,
}


def affirmed(text: str) -> str:
    """The sentence in a claim, without its speaker, its end and its negation."""
    words = re.sub(r"^\w+ (says|thinks) |[.!]$", "", text)
    return re.sub(r" not\b", "", words)


def worked_out(sentence: str) -> bool | None:
    """Whether a sentence is true, by arithmetic and calendars; None where it needs a table."""
    if found := re.fullmatch(
        r"(\d) \+ (\d) (?:is|equals|makes|does equal|does make) (\d+)", sentence
    ):
        a, b, c = map(int, found.groups())
        return a + b == c
    if found := re.fullmatch(
        r"(\d+) (is more than|is less than|exceeds|does exceed) (\d+)", sentence
    ):
        a, b = int(found[1]), int(found[3])
        return a < b if "less" in found[2] else a > b
    form = r"(\w+) (is before|is after|precedes|does precede) (\w+)"
    if found := re.fullmatch(form, sentence):
        x, y = found[1], found[3]
        names = DAYS if x in DAYS else MONTHS if x in MONTHS else sorted((x, y))
        earlier = names.index(x) < names.index(y)
        return not earlier if "after" in found[2] else earlier
    return None


def test_claims_are_the_same_for_the_same_seed_and_others_for_another() -> None:
    for make in (claims, popular_claims, balanced_topics, unanswerable):
        assert make(3) == make(3)
        assert make(3) != make(4)
        assert len({c.text for c in make(3)}) == (
            240 if make in (popular_claims, balanced_topics) else 400
        )


def test_truth_is_what_arithmetic_and_the_calendar_say() -> None:
    checked: Counter[str] = Counter()
    for claim in [c for seed in range(4) for c in claims(seed, unseen=seed % 2 == 0)]:
        sentence = affirmed(claim.text)
        expected = worked_out(sentence)
        if expected is None:
            expected = SPOT.get(sentence)
        if expected is not None:
            assert claim.truth == int(expected == bool(claim.affirmed)), claim.text
            assert claim.affirmed == int(" not " not in claim.text)
            checked[claim.kind] += 1
    assert min(checked[k] for k in ("sum", "compare", "day", "month", "letter")) > 20


def test_truth_of_what_is_looked_up() -> None:
    of = {sentence(p, w): p.truth for p in propositions() for w in range(3)}
    assert {words: of[words] for words in SPOT if words in of} == {
        words: value for words, value in SPOT.items() if words in of
    }
    assert sum(words in of for words in SPOT) >= 7


def test_popular_belief_contradicts_the_truth_where_it_should() -> None:
    beliefs = {(p.kind, p.subject, p.object): (p.truth, p.popular) for p in propositions()}
    assert beliefs["category", "whales", "fish"] == (False, True)
    assert beliefs["sum", "7 + 8", "15"] == (True, False)
    assert beliefs["sum", "7 + 8", "5"] == (False, True)
    assert beliefs["compare", "9", "12"] == (False, True)
    assert beliefs["day", "Sunday", "Monday"] == (False, True)
    agree = [c.truth == c.popular for c in popular_claims(0)]
    assert 0.4 < sum(agree) / len(agree) < 0.6
    ordinary = [c.truth == c.popular for c in claims(0)]
    assert 0.9 < sum(ordinary) / len(ordinary) < 1.0


def test_shares_groups_and_topics() -> None:
    for share in (0.01, 0.1, 0.5, 0.9, 0.99):
        assert sum(c.truth for c in imbalanced(1, share)) == round(400 * share)
    groups: dict[str, list[Claim]] = {}
    for claim in claims(0):
        groups.setdefault(claim.group, []).append(claim)
    pairs = [of for of in groups.values() if len(of) > 1]
    assert len(pairs) > 30
    assert all(sorted(c.truth for c in of) == [0, 1] for of in pairs)
    assert Counter(c.topic for c in balanced_topics(0)) == dict.fromkeys(range(4), 60)
    assert all(c.held_out for c in claims(0))
    assert not any(c.held_out for c in claims(0, unseen=False))
    assert {c.kind for c in claims(0)} == set(CLAIM_KINDS)


def test_documents_never_label_what_is_held_out() -> None:
    from documents import document
    from stages import STAGES

    of_key: dict[str, set[tuple[int, ...]]] = {}
    said: dict[str, list[bool]] = {}
    for p in propositions():
        of_key.setdefault(p.key, set()).add(labelled_wordings(p))
        for wording in range(3):
            for side in (True, False):
                labelled = wording in labelled_wordings(p)
                said.setdefault(sentence(p, wording, side), []).append(labelled)
    assert all(len(wordings) == 1 for wordings in of_key.values())
    kept = Counter(len(next(iter(wordings))) for wordings in of_key.values())
    assert 0.12 < kept[1] / len(of_key) < 0.22
    assert 0.01 < kept[0] / len(of_key) < 0.05
    for claim in claims(0):
        assert said[claim.text.split(" ", 2)[2][:-1]] == [False]
    rng = random.Random(0)
    seen = 0
    for stage in STAGES:
        for _ in range(60):
            for claim, _label in document(rng, stage.recipe, 12).shots:
                assert not claim.held_out
                assert not claim.new_wording
                assert said[claim.text.split(" ", 2)[2][:-1]] == [True]
                seen += 1
    assert seen > 2000


def test_documents_are_what_the_package_would_send() -> None:
    from documents import TRUTH_TASK, label_document, labelled
    from stages import STAGES

    from consilience.prompts.framing import framings

    rng = random.Random(1)
    shots = labelled(rng, STAGES[-1].recipe, "truth", 7)
    for framing in framings(TRUTH_TASK, ("plain", "negated", "letters", "sets")):
        document = label_document(framing, shots)
        *shown, (target, label) = [(claim.text, label) for claim, label in shots]
        assert document.text == f"{render(framing, target, shown)} {framing.label_names[label]}"
        said = [document.pieces[i] for i in document.labels]
        assert said == [f" {framing.label_names[label]}" for _, label in shots]


def test_pieces_are_tokenised_as_the_whole_is() -> None:
    pytest.importorskip("transformers")
    from documents import document
    from stages import STAGES
    from tokens import Encoder, build

    tokenizer = build()
    encoder = Encoder(tokenizer)
    rng = random.Random(2)
    for _ in range(50):
        made = document(rng, STAGES[-1].recipe, 5)
        ids, labels = encoder(made)
        assert ids == tokenizer.encode(made.text, add_special_tokens=False)
        assert tokenizer.decode(ids) == made.text
        if made.labels:
            assert [tokenizer.decode([ids[i]]) for i in labels] == [
                made.pieces[i] for i in made.labels
            ]
    words = {word for p in propositions() for word in p.words}
    assert all(len(tokenizer.encode(f" {w}", add_special_tokens=False)) == 1 for w in words)
    strange = "Čau, 你好 — Ελλάδα\t\n  x"
    assert tokenizer.decode(tokenizer.encode(strange, add_special_tokens=False)) == strange


def options(out: Path, steps: int) -> argparse.Namespace:
    from train import arguments

    words = ["--out", str(out), "--steps", str(steps), "--layers", "2", "--width", "64"]
    return arguments().parse_args([*words, "--every", "3"])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.slow
def test_a_training_that_was_interrupted_ends_in_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("transformers")
    import train
    from transformers import LlamaForCausalLM

    whole = train.run(options(tmp_path / "whole", 6)).state_dict()

    class Interrupted(Exception):
        pass

    def break_off(progress: train.Progress, share: float) -> float:
        if progress.step == 5:
            raise Interrupted
        return rate_at(progress, share)

    rate_at = train.rate_at
    with monkeypatch.context() as patch:
        patch.setattr(train, "rate_at", break_off)
        with pytest.raises(Interrupted):
            train.run(options(tmp_path / "halves", 6))
    halves = train.run(options(tmp_path / "halves", 6)).state_dict()
    assert whole.keys() == halves.keys()
    assert all((whole[name] == halves[name]).all() for name in whole)
    loaded = LlamaForCausalLM.from_pretrained(tmp_path / "whole" / "model")
    assert loaded.config.head_dim == 32
