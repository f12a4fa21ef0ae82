"""What answers of pretrained models have beside a belief: offsets, leanings, unequal wordings.

Fitted to answers of a pretrained model of 270 M parameters that are recorded in
`benchmarks/recorded` (sentiment, news, spam; log-odds of two classes, in nats):

- each context (a list of shots under one framing) moves all its answers alike, by another amount
  than the next: standard deviation 0.3 to 0.5;
- each wording leans to one class, by up to 2.5 nats without shots, of which two thirds stay with
  them: without shots all answers can be of one class and rank the examples all the same;
- random labels on the shots show the belief half as clearly as true ones, and still clearer than
  no shots do: most of what shots teach is the format;
- wordings differ in how much of the belief they show, and a negated one is at first understood
  the wrong way round;
- answers in one wording about one example share an error, and answers without shots have a
  further one.

All of it is a hash of the query, so that the same query has the same answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from consilience.data.arrays import Floats, few_softmax
from consilience.prompts.query import Query

LEARNT = 4
"""With so many shots half of what they teach about the format is learnt."""


@dataclass(frozen=True, slots=True)
class Wording:
    """What a wording is worth to a model.

    `gain` is how much of the belief it shows; `straight` the probability, before any shot, that its
    label names are taken the right way round; `leaning` by how many nats the class that it prefers
    without shots is ahead of the one that it likes least.
    """

    gain: float = 1.0
    straight: float = 0.95
    leaning: float = 0.0


WORDINGS: Mapping[str, Wording] = {
    "names": Wording(1.0, 0.95, 0.3),
    "plain": Wording(0.7, 0.95, 2.4),
    "negated": Wording(0.5, 0.02, 1.2),
    "letters": Wording(0.15, 0.6, 1.0),
    "sets": Wording(0.6, 0.5, 0.5),
}
"""What wordings are worth on the sentiment of reviews, by the part of their names before a dash."""


@dataclass(frozen=True, slots=True)
class Pretrained:
    """The habits of a pretrained model; nats are of the log-odds of two classes.

    `wordings` says what each is worth; `format` is the share of the belief that shows before shots
    have taught the format (above 1 where answers without shots are the more decided), `heed` how
    much the label of a shot counts as evidence of what is meant, `offset` the standard deviation of
    what a context adds to all its answers, `kept` the share of a leaning that is left with shots,
    `shared` the standard deviation of the error that answers in one wording about one example
    share, and `bare` that of a further one without shots.
    """

    wordings: Mapping[str, Wording] = field(default_factory=lambda: WORDINGS)
    format: float = 0.75
    heed: float = 0.18
    offset: float = 0.45
    kept: float = 0.65
    shared: float = 0.25
    bare: float = 0.4

    def wording(self, framing: str) -> Wording:
        """What a framing is worth; one that is not among the wordings shows the belief as it is."""
        return self.wordings.get(family_of(framing), Wording())

    def answer(self, query: Query, score: Floats, says: Floats) -> Floats:
        """The logits (K) of an answer, from what H hypotheses say (H, K) and their scores (H)."""
        k, family = says.shape[1], family_of(query.framing)
        wording, shots = self.wording(query.framing), len(query.shots)
        known = self.format + (1 - self.format) * shots / (shots + LEARNT)
        lead = wording.leaning * (self.kept if shots else 1.0)
        if shots:
            shown = "\x1e".join(f"{id} {label}" for id, label in query.shots)
            error = _error(self.offset, k, "offset", query.framing, shown)
        else:
            error = _error(self.bare, k, "bare", query.framing, query.target)
        logits = wording.gain * known * (few_softmax(score) @ says) + lead * _direction(family, k)
        logits += _error(self.shared, k, "shared", family, query.target) + error
        return np.asarray(logits)


def family_of(framing: str) -> str:
    """The wording that a framing is one of: its name without the number of its rotation."""
    return framing.partition("-")[0]


def drawn(*parts: str) -> np.random.Generator:
    """A generator that is fixed by its parts, on any machine and in any order of asking."""
    digest = hashlib.sha256("\x1f".join(parts).encode()).digest()
    # The first 16 bytes as one number, its words the least first, as NumPy takes it apart itself.
    words = np.frombuffer(digest[15::-1], "<u4").astype(np.uint32)
    return np.random.Generator(np.random.PCG64(words))


def _error(size: float, k: int, *parts: str) -> Floats:
    """An error (K) that is fixed by its parts; `size` is its standard deviation in log-odds."""
    return np.asarray(size / np.sqrt(2) * drawn(*parts).normal(size=k))


def _direction(family: str, k: int) -> Floats:
    """How a wording leans (K): from the class it likes least to the one it likes most is 1."""
    liked = drawn("leaning", family, str(k)).normal(size=k)
    return np.asarray((liked - liked.mean()) / np.ptp(liked))
