"""Training documents: shots in the program's own prompt formats, and true sentences to read.

Each document asks one question of many claims. What decides the labels, the concept, is drawn per
document: truth, popular belief, who says it, how firmly, whether it is negated, how it ends, or
nothing but a base rate. The label names, and which of them stands for which class, are drawn too.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import NormalDist

from consilience.data.task import Task
from consilience.datasets.pocket_world.facts import TOPICS, Proposition, chance, propositions
from consilience.datasets.pocket_world.world import (
    CLAIM_KINDS,
    NEW_WORDING,
    Claim,
    draw_proposition,
    labelled_wordings,
    make_claim,
    sentence,
)
from consilience.prompts.framing import Framing, framings, render

TRUTH_TASK = Task()
"""The question that the package asks by default."""

TASKS = (
    TRUTH_TASK,
    TRUTH_TASK,
    Task("Is the sentence right?", statement="It is right", opposite="It is wrong"),
    Task("Do you agree?", ("No", "Yes"), None, None),
    Task("Is this correct?", ("no", "yes"), None, None),
    Task("Judge each claim.", ("Wrong", "Right"), None, None),
    Task("Judge each claim.", ("false", "true"), None, None),
)
"""Questions whose label names mean something."""

TOPIC_TASK = Task("What is the claim about?", TOPICS, None, None)
"""The question with four answers."""

ATTRIBUTE_TASKS = {
    "popular": Task("How is the belief in it?", ("weak", "strong"), None, None),
    "source": Task("Which couple says it?", ("first", "last"), None, None),
    "firm": Task("How does somebody hold it?", ("thinks", "says"), None, None),
    "affirmed": Task("Which word stands in it?", ("not", "is"), None, None),
    "calm": Task("How is it said?", ("loud", "quiet"), None, None),
}
"""Questions about what people believe and how it is said; each has label names of its own."""

OFTEN = (4, 2, 2, 1, 2)
"""How often each of them is asked."""

NEUTRAL = tuple(
    tuple(pair.split())
    for pair in [
        "A B",
        "1 2",
        "foo bar",
        "X Y",
        "red blue",
        "cat dog",
        "up down",
        "left right",
        "P Q",
        "in out",
        "one two",
        "sun moon",
        "day night",
        "0 1",
        "C D",
        "salt pepper",
        "north south",
        "tea coffee",
        "alpha beta",
        "plus minus",
    ]
)
"""Pairs of label names that say nothing about the claims."""

SORT = Task("Sort the items into two groups.", ("first", "second"), None, None)

RARER = 0.6
"""How often a proposition that is labelled in both wordings gives way to another draw."""

CONCEPTS = ("truth", "popular", "source", "firm", "affirmed", "calm", "coin")
"""What can decide the labels of a document with two classes."""


@dataclass(frozen=True)
class Recipe:
    """What documents of a stage of the curriculum are made of; shares are probabilities.

    `dense` documents are bare propositions with a label each and nothing else, so that a label
    comes every fifth token; a share of the batches is made of them. `pools` are the numbers of
    different claims in a document, 0 for no repeats. `concepts` gives the weight of each of
    `CONCEPTS`; `reversed` is the share of documents under natural names with all labels reversed,
    `denied` of negated claims, `noise` the most that is wrong of the labels, `imbalance` the share
    of documents with a base rate of their own, `misbelieved` a factor on how often popular belief
    is wrong; `topics`, `attributes`, `reading` and `words` are the shares of such documents, `gut`
    is how often the first label under natural names is a gut feeling, `bridge` the share of dense
    documents with part of a prompt around their claims.
    """

    dense: float = 0.0
    kinds: tuple[str, ...] = CLAIM_KINDS
    shots: tuple[int, ...] = (8, 16, 24)
    natural: float = 0.5
    reversed: float = 0.1
    pools: tuple[int, ...] = (0,)
    concepts: tuple[float, ...] = (1, 0, 0, 0, 0, 0, 0)
    natural_concepts: tuple[float, ...] = (1, 0, 0, 0, 0, 0, 0)
    denied: float = 0.3
    noise: float = 0.0
    imbalance: float = 0.0
    misbelieved: float = 0.0
    topics: float = 0.0
    attributes: float = 0.0
    reading: float = 0.0
    gut: float = 0.0
    few_names: bool = False
    words: float = 0.0
    bridge: float = 0.0


@dataclass
class Document:
    """A text in pieces; the pieces whose index is in `labels` are what is to be predicted.

    A document to read has no labels: all of it is to be predicted. `shots` are the claims with
    the classes shown; in a document for an evaluation the last one is the target.
    """

    pieces: list[str]
    labels: list[int] = field(default_factory=list)
    names: tuple[str, ...] = ()
    shots: list[tuple[Claim, int]] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The whole document."""
        return "".join(self.pieces)


def label_document(framing: Framing, shots: Sequence[tuple[Claim, int]]) -> Document:
    """The prompt for the last claim after all the others, with its own label, cut at the labels."""
    said = [(claim.text, label) for claim, label in shots]
    last = framing.label_names[said[-1][1]]
    text = f"{render(framing, said[-1][0], said[:-1])} {last}"
    document = Document([], names=framing.label_names, shots=list(shots))
    start, end = 0, len(framing.instruction)
    for words, label in said:
        # Two line breaks, the claim, a line break and the lead stand before each label.
        end += 2 + len(words) + 1 + len(framing.lead)
        document.pieces.append(text[start:end])
        start, end = end, end + 1 + len(framing.label_names[label])
        document.labels.append(len(document.pieces))
        document.pieces.append(text[start:end])
        start = end
    return document


LEADS = ("", "\nRight", "\nThe claim", "\nThe claim is", "\nThe claim is right", "\nAnswer")


def dense_document(names: tuple[str, ...], shots: Sequence[tuple[Claim, int]]) -> Document:
    """Bare propositions, each with its label, and nothing else."""
    document = Document([], names=names, shots=list(shots))
    for claim, label in shots:
        bare = claim.text.split(" ", 2)[2][:-1]
        document.pieces += [f" {bare}:", f" {names[label]}"]
        document.labels.append(len(document.pieces) - 1)
    return document


def bridge_document(
    rng: random.Random,
    names: tuple[str, ...],
    shots: Sequence[tuple[Claim, int]],
    whole: bool,
) -> Document:
    """Claims with part of what a prompt puts around them, so that a label moves away by steps."""
    document = Document([], names=names, shots=list(shots))
    gap, lead = rng.choice((" ", "\n\n")), rng.choice(LEADS)
    for claim, label in shots:
        said = claim.text if whole else claim.text.split(" ", 2)[2]
        document.pieces += [f"{gap}{said}{lead}:", f" {names[label]}"]
        document.labels.append(len(document.pieces) - 1)
    return document


def reading_document(
    rng: random.Random, lines: int, kinds: Sequence[str] = CLAIM_KINDS
) -> Document:
    """Sentences to read, in all wordings: what is true, and some of what people believe instead."""
    made = []
    for _ in range(lines):
        popular = rng.random() < 0.3
        proposition = rng.choice(_readable(tuple(kinds), popular))
        words = sentence(proposition, rng.randrange(NEW_WORDING + 1))
        made.append(f"{'People say' if popular else 'In truth'} {words}.\n")
    return Document(["".join(made)])


_READABLE: dict[tuple[tuple[str, ...], bool], list[Proposition]] = {}


def _readable(kinds: tuple[str, ...], popular: bool) -> list[Proposition]:
    """What is true, or what is believed, held-out propositions included, kinds equally often."""
    if (kinds, popular) not in _READABLE:
        of = {
            kind: [
                p for p in propositions() if p.kind == kind and (p.popular if popular else p.truth)
            ]
            for kind in kinds
        }
        longest = max(map(len, of.values()))
        _READABLE[kinds, popular] = [p for ps in of.values() for p in (ps * (longest // len(ps)))]
    return _READABLE[kinds, popular]


def mood(claim: Claim) -> float:
    """What the words of a claim feel like, standard normal; it has nothing to do with truth."""
    words = [w for w in claim.group.replace(" + ", "|").split("|")[1:]]
    total = sum(NormalDist().inv_cdf(chance("mood", word) * 0.998 + 0.001) for word in words)
    return total / math.sqrt(len(words))


def gut_label(rng: random.Random, claim: Claim) -> int:
    """What is answered without an example: little truth, much popular belief, and a mood."""
    known = claim.popular if rng.random() < 0.85 else claim.truth
    odds = 1.6 * (2 * known - 1) + 4.0 * mood(claim)
    return int(rng.random() < 1 / (1 + math.exp(-odds)))


def draw_claim(rng: random.Random, recipe: Recipe, concept: str, value: int, wrong: float) -> Claim:
    """A claim for which the concept has this value; popular belief is wrong in a share `wrong`."""
    while True:
        affirmed = rng.random() >= recipe.denied
        truth = value if concept == "truth" else rng.getrandbits(1)
        misbelieved = rng.random() < wrong
        if concept == "popular":
            truth = value ^ misbelieved
        fact = bool(truth) == affirmed
        proposition = draw_proposition(rng, fact, fact != misbelieved, kinds=recipe.kinds)
        # What is labelled in one wording only comes more often, to be known as well as the rest.
        if len(labelled_wordings(proposition)) == 2 and rng.random() < RARER:
            continue
        claim = make_claim(
            proposition, rng, affirmed=affirmed, wording=rng.choice(labelled_wordings(proposition))
        )
        if concept == "coin" or getattr(claim, concept) == value:
            return claim


def labelled(
    rng: random.Random, recipe: Recipe, concept: str, count: int, pool: int = 0
) -> list[tuple[Claim, int]]:
    """Claims with the values of a concept, by a base rate and repeats drawn for all of them."""
    rate = rng.uniform(0.05, 0.95) if rng.random() < recipe.imbalance else 0.5
    wrong = 0.05 if rng.random() < 0.5 and concept != "popular" else 0.5
    wrong *= recipe.misbelieved
    if not pool:
        values = [int(rng.random() < rate) for _ in range(count)]
        return [(draw_claim(rng, recipe, concept, value, wrong), value) for value in values]
    # Both classes equally often, so that what is repeated must be told apart, not counted.
    of = [(draw_claim(rng, recipe, concept, i % 2, wrong), i % 2) for i in range(pool)]
    return [rng.choice(of) for _ in range(count)]


def as_trained(task: Task, family: str) -> tuple[Framing, ...]:
    """The framings of a family as models are trained on them.

    Of a task without a statement `plain` is the question with the classes in their own order.
    """
    if family == "plain" and task.statement is None:
        return framings(task, ("names",))[:1]
    return framings(task, (family,))


def truth_framing(rng: random.Random) -> Framing:
    """A framing whose label names mean something."""
    task = rng.choice(TASKS)
    family = (
        rng.choices(("plain", "negated", "letters"), (6, 2, 2))[0] if task.opposite else "plain"
    )
    return rng.choice(as_trained(task, family))


def neutral_names(rng: random.Random, recipe: Recipe) -> tuple[str, ...]:
    """A pair of names that mean nothing, either way round."""
    names = list(rng.choice(NEUTRAL[:4] if recipe.few_names else NEUTRAL))
    rng.shuffle(names)
    return tuple(names)


def neutral_framing(rng: random.Random, recipe: Recipe) -> Framing:
    """A framing whose label names mean nothing."""
    if rng.random() < 0.5:
        return rng.choice(framings(TRUTH_TASK, ("sets",)))
    names = neutral_names(rng, recipe)
    return as_trained(Task(SORT.question, names, None, None), "plain")[0]


def two_class_document(rng: random.Random, recipe: Recipe, count: int) -> Document:
    """A document of `count` labels with two classes."""
    natural = rng.random() < recipe.natural
    weights = recipe.natural_concepts if natural else recipe.concepts
    # A bare proposition has a truth and is believed or not; the rest is said around it.
    seen = 2 if recipe.dense else len(CONCEPTS)
    concept = rng.choices(CONCEPTS[:seen], weights[:seen])[0]
    pool = 0 if natural else rng.choice(recipe.pools)
    shots = labelled(rng, recipe, concept, count, pool)
    turned = rng.random() < (recipe.reversed if natural else 0.5)
    noise = rng.uniform(0, recipe.noise) if rng.random() < 0.5 else 0.0
    shots = [(claim, label ^ turned ^ (rng.random() < noise)) for claim, label in shots]
    if natural and rng.random() < recipe.gut:
        shots[0] = (shots[0][0], gut_label(rng, shots[0][0]))
    if recipe.dense:
        names = ("False", "True") if natural else neutral_names(rng, recipe)
        if rng.random() < recipe.bridge:
            return bridge_document(rng, names, shots, whole=rng.random() < 0.5)
        return dense_document(names, shots)
    return label_document(truth_framing(rng) if natural else neutral_framing(rng, recipe), shots)


def word_document(rng: random.Random, recipe: Recipe, count: int) -> Document:
    """Single words that come again and again, each with the label it had before."""
    names = neutral_names(rng, recipe)
    words = rng.sample(_WORDS, rng.choice((2, 4, 8)))
    document = Document([], names=names)
    for _ in range(2 * count):
        i = rng.randrange(len(words))
        document.labels.append(len(document.pieces) + 1)
        document.pieces += [f" {words[i]}:", f" {names[i % 2]}"]
    return document


_WORDS = sorted({word for proposition in propositions() for word in proposition.words})


def attribute_document(rng: random.Random, recipe: Recipe, count: int) -> Document:
    """A question about an attribute under its own names, so that it is noticed at all."""
    concept, task = rng.choices(list(ATTRIBUTE_TASKS.items()), OFTEN)[0]
    shots = labelled(rng, recipe, concept, count)
    if recipe.dense:
        return bridge_document(rng, task.classes, shots, whole=concept != "popular")
    return label_document(as_trained(task, "plain")[0], shots)


def topic_document(rng: random.Random, recipe: Recipe, count: int) -> Document:
    """A document of `count` labels with four classes."""
    shots = []
    for _ in range(count):
        claim = draw_claim(rng, recipe, "coin", 0, 0.05)
        shots.append((claim, claim.topic))
    if recipe.dense:
        return bridge_document(rng, TOPICS, shots, whole=rng.random() < 0.5)
    family = rng.choice(("plain", "plain", "letters", "sets"))
    return label_document(rng.choice(as_trained(TOPIC_TASK, family)), shots)


def document(rng: random.Random, recipe: Recipe, count: int) -> Document:
    """A document of about `count` labels' length."""
    if rng.random() < recipe.words:
        return word_document(rng, recipe, count)
    kind = rng.random()
    if kind < recipe.reading:
        return reading_document(rng, count, recipe.kinds)
    if kind < recipe.reading + recipe.topics:
        return topic_document(rng, recipe, count)
    if kind < recipe.reading + recipe.topics + recipe.attributes:
        return attribute_document(rng, recipe, count)
    return two_class_document(rng, recipe, count)
