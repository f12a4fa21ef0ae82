"""A Bayesian in-context learner with known truth: a model for tests, demos and measurements.

The learner carries several concepts, each a labelling that it knows imperfectly, and reads the
shots as evidence about which concept, which way round, is meant (Xie et al. 2022, "An Explanation
of In-context Learning as Implicit Bayesian Inference"). Its answer is the posterior mixture of
what the concepts say of the target. On top of that it has what real models have: a liking for
some label names, for the label shown last, for repeating the base rate of the shots, and noise
that is fixed by the query. Everything latent is a hash of the example's id, so that the learner
can be put in front of any data set; only on its own worlds do its labels mean anything.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from consilience.data.arrays import Floats, few_log_softmax, few_logsumexp
from consilience.data.dataset import Dataset, Example, Gold, example_id
from consilience.data.random_streams import generator
from consilience.data.relations import ExactlyOne, Relation
from consilience.data.task import Task
from consilience.errors import InputError
from consilience.models.base import Answer, Request
from consilience.models.pretrained_worlds import Pretrained, Wording, drawn
from consilience.prompts.framing import Style

EXAMPLES = 400
"""How many examples a world has unless another number is wanted."""


@dataclass(frozen=True, slots=True)
class SimulatedConcept:
    """A labelling that the learner carries: how salient it is and how well it knows it.

    `prior` is its probability before any shot, `margin` the mean log-odds (nats) by which the
    learner favours the concept's own label, and `spread` their standard deviation over examples.
    """

    prior: float
    margin: float = 3.2
    spread: float = 3.0


@dataclass(frozen=True, slots=True)
class World:
    """What a simulated learner is like; the first concept is the truth.

    `positives` is the share of class 1 in the truth (two classes), `straight` the probability
    that label names which mean something are taken the right way round, `copying` the prior of
    the base-rate concept, `liking` the standard deviation of the liking for a label name (nats),
    `recency` the liking for the label shown last, `noise` that of the answer, `wrong` the share
    of wrong shots that it reckons with, `group` the size of its groups with exactly one true
    member (1: no groups). `pretrained` are the habits of a model that was only pretrained
    (`straight` is then a matter of each wording); without them it answers as an ideal observer.
    """

    concepts: tuple[SimulatedConcept, ...]
    k: int = 2
    positives: float = 0.5
    straight: float = 0.95
    copying: float = 0.1
    liking: float = 0.7
    recency: float = 0.3
    noise: float = 0.7
    wrong: float = 0.15
    group: int = 1
    about: str = ""
    pretrained: Pretrained | None = None


_THREE = (SimulatedConcept(0.4), SimulatedConcept(0.3), SimulatedConcept(0.2))

_PRETRAINED = World(
    (
        SimulatedConcept(0.55, 1.4, 1.05),
        SimulatedConcept(0.05, 1.4, 1.05),
        SimulatedConcept(0.05, 1.4, 1.05),
    ),
    copying=0.35,
    liking=0.0,
    recency=0.15,
    noise=0.26,
    about="as a small pretrained model on sentiment: offsets, leanings, unequal wordings",
    pretrained=Pretrained(),
)
_TOPICS = {"names": Wording(1.0, 0.9, 4.5), "letters": Wording(0.2, 0.5, 0.5)}
_UNSAID = {
    "names": Wording(1.0, 0.5, 1.4),
    "plain": Wording(0.7, 0.5, 0.4),
    "negated": Wording(0.5, 0.5, 0.8),
    "letters": Wording(0.15, 0.5, 1.0),
}

WORLDS: dict[str, World] = {
    "easy": World(
        (SimulatedConcept(0.6, 4.0, 2.4), SimulatedConcept(0.2), SimulatedConcept(0.1)),
        noise=0.5,
        about="the truth is salient and well known",
    ),
    "noisy": World(_THREE, about="three concepts, label-name bias, noise"),
    "imbalanced": World(_THREE, positives=0.1, about="one example in ten is true"),
    "imbalanced-1": World(_THREE, positives=0.01, about="one example in a hundred is true"),
    "imbalanced-90": World(_THREE, positives=0.9, about="nine examples in ten are true"),
    "imbalanced-99": World(
        _THREE, positives=0.99, about="ninety-nine examples in a hundred are true"
    ),
    "distractor": World(
        (SimulatedConcept(0.2), SimulatedConcept(0.5), SimulatedConcept(0.2)),
        about="another feature is more salient than the truth",
    ),
    "imbalanced-distractor": World(
        (SimulatedConcept(0.3), SimulatedConcept(0.4), SimulatedConcept(0.2)),
        positives=0.1,
        about="one example in ten is true, and another feature is more salient",
    ),
    "no-answer": World(
        (
            SimulatedConcept(0.4, 0.0, 0.8),
            SimulatedConcept(0.3, 0.0, 0.8),
            SimulatedConcept(0.2, 0.0, 0.8),
        ),
        about="the model knows nothing: success is staying unsure",
    ),
    "k4": World(_THREE, k=4, about="four classes"),
    "k30": World(_THREE, k=30, about="thirty classes, asked for by codes"),
    "grouped": World(_THREE, group=3, about="groups of three, one of them true (design prior)"),
    "pretrained": _PRETRAINED,
    "pretrained-4": replace(
        _PRETRAINED,
        concepts=(SimulatedConcept(0.6, 1.6, 1.5), SimulatedConcept(0.05, 1.6, 1.5)),
        k=4,
        pretrained=Pretrained(_TOPICS, format=1.3),
        about="as a small pretrained model on four topics of news",
    ),
    "pretrained-rare": replace(
        _PRETRAINED,
        concepts=(
            SimulatedConcept(0.5, 1.4, 0.8),
            SimulatedConcept(0.1, 1.4, 0.8),
            SimulatedConcept(0.05, 1.4, 0.8),
        ),
        positives=0.12,
        pretrained=Pretrained(_UNSAID),
        about="as a small pretrained model on spam: 12 % are, zero-shot answers say nothing",
    ),
    "pretrained-shared": replace(
        _PRETRAINED,
        concepts=(SimulatedConcept(0.6, 1.75, 1.5), SimulatedConcept(0.05, 1.75, 1.5)),
        pretrained=Pretrained(shared=0.6),
        about="a pretrained model that is wrong on 12 % of examples, in all its answers alike",
    ),
}


def _world(name: str) -> World:
    try:
        return WORLDS[name]
    except KeyError:
        raise InputError(f"no world {name!r}; the worlds are: {', '.join(WORLDS)}") from None


def true_label(world: World, concept: int, id: str) -> int:
    """The label of an example under a concept of a world."""
    u = drawn("label", str(concept), id).random()
    if world.k > 2:
        return int(u * world.k)
    return int(u < (world.positives if concept == 0 else 0.5))


class SimulatedModel:
    """The learner of one world; answers instantly, the same query always the same way."""

    def __init__(self, world: str) -> None:
        self.world = _world(world)
        self.name = f"simulated:{world}"
        self.style: Style = "text"
        world_settings = asdict(self.world)
        if self.world.pretrained is None:
            # The worlds without it are what they were, and so are the keys of their predictions.
            del world_settings["pretrained"]
        self._settings = {"world": world_settings}
        self._beliefs: dict[str, Floats] = {}
        self._turned: dict[str, Floats] = {}
        self._shots: dict[tuple[str, int], Floats] = {}
        self._latest: tuple[object, tuple[Floats, Floats]] | None = None
        weights = np.array([c.prior for c in self.world.concepts])
        self._concept_logprior = np.log(weights / weights.sum() * (1 - self.world.copying))

    @property
    def settings(self) -> Mapping[str, Any]:
        """The whole world: a change to it makes other predictions."""
        return self._settings

    async def ask(self, request: Request) -> Answer:
        """The learner's answer, exact for every label."""
        score, says = self._hypotheses(request)
        if self.world.pretrained is None:
            meant = few_logsumexp(score[:, None] + says)
        else:
            meant = self.world.pretrained.answer(request.query, score, says)
        logits = meant + self._habits(request)
        logprobs = few_log_softmax(logits)
        mass = 0.97
        return Answer(
            tuple((logprobs + np.log(mass)).tolist()),
            (True,) * self.world.k,
            mass,
            usage={"prompt_tokens": len(str(request.prompt)) // 4, "completion_tokens": 1},
            raw={"simulated": self.name},
        )

    def knows(self, id: str) -> int:
        """The label of an example under the truth as the learner sees it, habits and noise apart.

        Whoever asks it can expect no better labels, unless relations say what it does not know.
        """
        return int(self._says(0, id).argmax())

    def _belief(self, id: str) -> Floats:
        """Log p(label | concept) as the learner sees the example, shape (concepts, classes)."""
        if id not in self._beliefs:
            logits = np.array([self._says(c, id) for c in range(len(self.world.concepts))])
            self._beliefs[id] = few_log_softmax(logits)
        return self._beliefs[id]

    def _says(self, concept: int, id: str) -> Floats:
        """How much the learner favours each label of an example under a concept, (K,), in nats."""
        w, carried = self.world, self.world.concepts[concept]
        noise = drawn("belief", str(concept), id).normal(size=w.k)
        logits: Floats = carried.spread / np.sqrt(2) * noise
        logits[true_label(w, concept, id)] += carried.margin
        return logits

    def _hypotheses(self, request: Request) -> tuple[Floats, Floats]:
        """Scores (H) of concepts × ways round and of the base rate, and what they say (H, K).

        Both are logarithms: log p(hypothesis, shots), and log p(class of the target | hypothesis).
        """
        w, query = self.world, request.query
        if len(request.label_names) != w.k:
            raise InputError(
                f"{self.name} answers with {w.k} classes, the task has {len(request.label_names)}"
            )
        score, copied = self._learned(query.framing, query.shots)
        return score, np.concatenate([self._all_ways(query.target), copied])

    def _all_ways(self, id: str) -> Floats:
        """What the concepts say of an example in each way round, (concepts × ways, classes)."""
        if id not in self._turned:
            belief, k = self._belief(id), self.world.k
            # Way round r: the class shown is the concept's own plus r, modulo K.
            ways = np.stack([np.roll(belief, r, axis=1) for r in range(k)], axis=1)
            self._turned[id] = ways.reshape(-1, k)
        return self._turned[id]

    def _learned(self, framing: str, shots: tuple[tuple[str, int], ...]) -> tuple[Floats, Floats]:
        """Scores (H) of the hypotheses after shots, and how frequent these make classes (1, K).

        Both are logarithms. The last are remembered: a block of targets shares its shots.
        """
        latest = self._latest
        if latest is not None and latest[0] == (framing, shots):
            return latest[1]
        w = self.world
        straight, heed = self._understanding(framing)
        ways = np.full(w.k, (1 - straight) / (w.k - 1))
        ways[0] = straight
        score = self._concept_logprior[:, None] + np.log(ways)
        counts = np.ones(w.k)
        base = np.log(w.copying)
        for seen, (id, label) in enumerate(shots):
            score += heed * self._shown(id, label)
            base += heed * np.log(counts[label] / (w.k + seen))
            counts[label] += 1
        found = np.append(score, base), np.log(counts / counts.sum())[None]
        self._latest = (framing, shots), found
        return found

    def _shown(self, id: str, label: int) -> Floats:
        """Log p(label of a shot | concept, way round), (concepts, ways), some shots being wrong."""
        if (id, label) not in self._shots:
            w = self.world
            says = self._belief(id)[:, (label - np.arange(w.k)) % w.k]
            self._shots[id, label] = np.log((1 - w.wrong) * np.exp(says) + w.wrong / w.k)
        return self._shots[id, label]

    def _understanding(self, framing: str) -> tuple[float, float]:
        """The probability that names are taken the right way round, and what a label counts for."""
        habits = self.world.pretrained
        if habits is not None:
            return habits.wording(framing).straight, habits.heed
        # "A" and "B" alone say nothing: neutral sets can be taken any way round.
        return self.world.straight if not framing.startswith("sets") else 1 / self.world.k, 1.0

    def _habits(self, request: Request) -> Floats:
        """Liking for a name, for the label shown last, and the noise of this very query."""
        w, query = self.world, request.query
        family = query.framing.partition("-")[0]
        # The two wordings share their names, and so the liking for them.
        family = "wording" if family in ("plain", "negated") else family
        liking = np.array([_name_liking(family, name) for name in request.label_names])
        habits = w.liking * liking
        if query.shots:
            habits[query.shots[-1][1]] += w.recency
        spoken = json.dumps([request.prompt, query.repeat])
        noise: Floats = drawn("noise", spoken).normal(size=w.k)
        return np.asarray(habits + w.noise * noise, dtype=np.float64)


@cache
def _name_liking(family: str, name: str) -> float:
    return float(drawn("liking", family, name).normal())


_NOUNS = [
    "valve",
    "door",
    "lamp",
    "river",
    "engine",
    "garden",
    "ladder",
    "window",
    "kettle",
    "bridge",
    "mirror",
    "anchor",
]
_TRAITS = [
    "amber",
    "narrow",
    "silent",
    "northern",
    "hollow",
    "bright",
    "wooden",
    "distant",
    "crooked",
    "polished",
]
_STATES = [
    "humming",
    "leaking",
    "turning",
    "waiting",
    "open",
    "sealed",
    "painted",
    "frozen",
    "missing",
    "new",
]


def world_dataset(name: str, examples: int = EXAMPLES, seed: int = 0) -> tuple[Dataset, Gold]:
    """The data set of a world, made up anew for each seed, and its truth.

    Texts are told apart by their wording alone. A group with one true member is found by trying
    wordings until the truth, which is a hash of the wording, falls as it should.
    """
    world = _world(name)
    if examples < world.group:
        raise InputError(f"world {name!r} needs at least {world.group} examples, got {examples}")
    rng = generator(seed, "sample of a world")
    made: list[Example] = []
    relations: list[Relation] = []
    for g in range(examples // world.group):
        lucky = int(rng.integers(world.group))
        members: list[Example] = []
        for m in range(world.group):
            while True:
                text = _sentence(rng, f"{seed}-{g}")
                wanted = world.group == 1 or (true_label(world, 0, example_id(text)) == 1) == (
                    m == lucky
                )
                if wanted and all(text != e.text for e in members):
                    break
            members.append(Example(text, group=f"report {g}" if world.group > 1 else None))
        made += members
        if world.group > 1:
            relations.append(ExactlyOne(tuple(sorted(e.id for e in members)), prior=True))
    colours = ["Amber", "Blue", "Coral", "Dun"]
    names = colours if world.k == len(colours) else [f"Colour {c}" for c in range(world.k)]
    task = Task() if world.k == 2 else Task("Which colour is meant?", names, None, None)
    note = f"simulated world: {world.about}"
    dataset = Dataset(name, made, relations, task=task, note=note)
    return dataset, Gold({id: true_label(world, 0, id) for id in dataset.ids})


def _sentence(rng: np.random.Generator, report: str) -> str:
    one, two = rng.choice(_NOUNS, size=2, replace=False)
    trait, other = rng.choice(_TRAITS, size=2, replace=False)
    state = rng.choice(_STATES)
    return f"Report {report}: the {trait} {one} beside the {other} {two} is {state}."
