"""Soft relations that the model itself proposes: which statements of a group say the same.

Pairs of similar examples of a group are put to the model zero-shot, in both orders and in every
rotation of the letters, through the same store as everything else. Where it finds that the two say
the same, `Equal` is proposed; where they contradict each other, `AtMostOne`, because two
statements that contradict each other may both be wrong. Each has the probability that the model
gave it as its strength. They are neither logical facts nor design priors but the model's opinion,
which may be as wrong as its labels; so nothing is proposed unless it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax

from consilience.data.dataset import Dataset, Example
from consilience.data.relations import AtMostOne, Equal, Relation, active_relations
from consilience.data.task import Task
from consilience.elicitation.settings import Settings
from consilience.errors import InputError
from consilience.models.base import Model
from consilience.planning.embeddings import Embedder, TfidfSvd, Vectors
from consilience.planning.neighbours import near_pairs
from consilience.planning.planner import zero_shot_round
from consilience.planning.ties import Ties
from consilience.planning.vector_cache import kept_vectors
from consilience.prompts.datatext import as_data
from consilience.store.database import Store
from consilience.store.planned_requests import PlannedRequests
from consilience.store.runner import CallCounts, Progress, ask, requests

STATEMENTS = ("First statement:", "Second statement:")
"""What stands before each of the two texts of a pair."""

NEIGHBOURS = 2
"""With how many of its nearest neighbours an example is compared."""

THRESHOLD = 0.5
"""How probable a relation must be to the model before it is proposed."""

STRONGEST = 0.99
"""The most that the model's word is taken for: an opinion never becomes a hard statement."""

TASK = Task(
    question="How are the first and the second statement of each item related?",
    classes=(
        "Either can be right or wrong, whatever the other is",
        "They say the same",
        "They contradict each other",
    ),
    statement=None,
    opposite=None,
)
"""What is asked about a pair."""

SAME, CONTRARY = 1, 2

_Pairs = Mapping[str, tuple[str, str]]
"""The two examples that each example of a data set of pairs is about, in the order shown."""


@dataclass(frozen=True, slots=True)
class Proposed:
    """A data set with the soft relations that a model proposed, and what came of its pairs.

    `pairs` were asked about; `same` and `contrary` of them became relations, and `failed` have no
    complete answer and became none. `asked` is what this very call asked.
    """

    data: Dataset
    pairs: int
    same: int
    contrary: int
    failed: int
    asked: CallCounts

    @property
    def sentence(self) -> str:
        """What came of the pairs, which is also the note on the data set."""
        told = (
            f"Of {self.pairs:,} pairs the model itself says that {self.same:,} say the same and "
            f"{self.contrary:,} contradict each other: soft relations, its opinion and no facts."
        )
        if self.failed:
            told += f" {self.failed:,} have no complete answer and no relation."
        return told


def candidates(
    data: Dataset, vectors: Vectors, neighbours: int = NEIGHBOURS, *, priors: bool = False
) -> tuple[Dataset, _Pairs]:
    """The pairs to ask about, each in both orders, and which two examples each is about.

    Every example with its `neighbours` nearest ones in its group, by the cosine of unit
    `vectors`. A pair that a relation ties already is left out; design priors are relations only
    where they count (`priors`).
    """
    if neighbours < 1:
        raise InputError(f"an example needs at least one neighbour to compare, got {neighbours}")
    ties = Ties(active_relations(data.relations, priors), data.index)
    groups: dict[str, list[int]] = {}
    for i, group in enumerate(data.groups):
        groups.setdefault(group, []).append(i)
    chosen: set[tuple[int, int]] = set()
    for members in groups.values():
        if len(members) > 1:
            chosen.update(near_pairs(vectors, members, neighbours, ties))
    if not chosen:
        raise InputError(
            f"{data.name!r} has no two examples of one group that no relation ties yet, so there "
            "is nothing to propose; name the column that says which rows belong together"
        )
    # Each text once: it stands in many pairs.
    shown = {x: as_data(data.texts[x], *STATEMENTS) for x in {x for pair in chosen for x in pair}}
    examples, about = [], {}
    for i, j in sorted(chosen):
        for one, other in ((i, j), (j, i)):
            text = f"{STATEMENTS[0]}\n{shown[one]}\n{STATEMENTS[1]}\n{shown[other]}"
            example = Example(text, group=f"{data.ids[i]} {data.ids[j]}")
            examples.append(example)
            about[example.id] = data.ids[one], data.ids[other]
    note = f"pairs of {data.name}, for relations that a model proposes"
    return Dataset(f"{data.name}: pairs", examples, task=TASK, note=note), about


def settings_for(pairs: Dataset) -> Settings:
    """The settings in which pairs are asked about: the zero-shot round, and nothing further."""
    rotations = Settings(framings=("letters",), first=1.0)
    return replace(rotations, calls_per_example=float(len(rotations.framings_for(pairs))))


def propose(
    data: Dataset,
    model: Model,
    *,
    store: Store,
    embedder: Embedder | None = None,
    neighbours: int = NEIGHBOURS,
    threshold: float = THRESHOLD,
    priors: bool = False,
    concurrency: int = 16,
    progress: Progress | None = None,
) -> Proposed:
    """The data set with the relations that the model finds between pairs of its examples, soft.

    A relation is proposed where its probability, by the mean log-probability over both orders and
    all framings, is at least `threshold`. What the store holds is not asked again. With more than
    two classes only `Equal` is proposed: a contradiction does not say which labels differ.
    """
    if not 1 / TASK.k <= threshold < 1:
        raise InputError(
            f"the threshold of a proposal is a probability from 1/{TASK.k}, that of a guess, to "
            f"below 1, got {threshold}"
        )
    vectors = kept_vectors(embedder or TfidfSvd(), data.texts, store.place)
    pairs, about = candidates(data, vectors, neighbours, priors=priors)
    framings = settings_for(pairs).framings_for(pairs)
    # No run: `solve` and `explain` open the newest one, which should be that of the labels.
    store.save_dataset(pairs)
    rows = requests(zero_shot_round(pairs, framings), pairs, framings, model)
    asked = ask(rows, model, store, concurrency=concurrency, progress=progress)
    answers = _answers(rows, about, store)
    # With an order or a letter missing, the liking for it would not cancel out.
    whole = {pair: heard for pair, heard in answers.items() if len(heard) == 2 * len(framings)}
    made: list[Relation] = []
    for pair, heard in whole.items():
        made += _relation(pair, softmax(np.mean(heard, axis=0)), threshold, data.task.k)
    same = sum(isinstance(relation, Equal) for relation in made)
    found = Proposed(data, len(answers), same, len(made) - same, len(answers) - len(whole), asked)
    return replace(found, data=data.with_relations(made, found.sentence))


def _answers(
    rows: PlannedRequests, about: Mapping[str, tuple[str, str]], store: Store
) -> dict[tuple[str, str], list[NDArray[np.float64]]]:
    """The log-probabilities (K) that the store has about each pair, in whatever order it stood."""
    answers: dict[tuple[str, str], list[NDArray[np.float64]]] = {}
    for query, said in zip(rows.queries, store.predictions(rows.all_keys), strict=True):
        one, other = sorted(about[query.target])
        heard = answers.setdefault((one, other), [])
        if said is not None and any(said.exact):
            heard.append(log_softmax(said.logprobs))
    return answers


def _relation(
    pair: tuple[str, str], said: NDArray[np.float64], threshold: float, k: int
) -> list[Relation]:
    """The relation that an answer of these probabilities proposes, if any."""
    kind = Equal if said[SAME] >= said[CONTRARY] else AtMostOne
    probability = float(said[SAME if kind is Equal else CONTRARY])
    if probability < threshold or (kind is AtMostOne and k > 2):
        return []
    # Rounded: the strength is part of the data set's identity, and the last digits are not.
    return [kind(pair, strength=round(min(probability, STRONGEST), 4))]
