"""A model behind an endpoint for decisions: a typed question in, a probability a choice out.

Two forms of one thing: `/decisions` (OpenAI, SGLang, vLLM) takes an `input` and a list of
questions, `/systemone` (vLLM, transformers serve, Ollama and others) a `state` and a mapping of
them. Neither shows tokens, so that names may be long, begin alike and be many. What is asked is
the prompt of every other model, shots included, as the input; whether shots move such a model's
answers is not certain, and `probe_decisions` says.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Unpack

from consilience.data.task import Task
from consilience.errors import AnswerError, InputError
from consilience.models import wire
from consilience.models.base import Answer, Request
from consilience.models.label_logprobs import LabelLogprobs
from consilience.models.plausible import check_sum
from consilience.models.server import Server, ServerOptions
from consilience.prompts.framing import Style, framings, render
from consilience.prompts.query import Query

DecisionApi = Literal["decisions", "systemone"]
"""The two forms, by the end of their paths."""

APIS: tuple[DecisionApi, ...] = ("decisions", "systemone")

QUESTION = "answer"
INSTRUCTIONS = "Which answer belongs at the end of the text?"

ROUNDED = 1e-4
"""A probability of 0 is one that was rounded; it is at most this."""

MOVES = 0.5
"""Shots move answers if turning all their labels round moves the log-odds by so many nats."""

_ABSENT = (404, 405, 501)
"""Statuses of a server that does not have an endpoint."""

_TASK = Task("Which of the two?", ("fruit", "tool"), None, None)
_FRAMING = framings(_TASK, ["sets"])[0]
_SHOTS = (("apple", 0), ("hammer", 1), ("pear", 0), ("saw", 1), ("plum", 0), ("drill", 1))
_TARGET = "cherry"


@dataclass(frozen=True, slots=True)
class DecisionsFound:
    """What was found of a model behind an endpoint for decisions.

    `shot_effect` is how far its log-odds moved towards what the shots say when the labels of all
    shots were turned round, in nats; `mass` the probability of the choices before they were
    normalised, where the server tells it; `calls` what the probe spent.
    """

    base_url: str
    model: str
    api: DecisionApi
    shot_effect: float
    mass: float | None
    calls: int

    @property
    def shots_move(self) -> bool:
        """Whether shots move its answers."""
        return self.shot_effect >= MOVES

    @property
    def sentence(self) -> str:
        """What the probe says of shots, and what to do."""
        said = f"turning all labels of its shots round moved its log-odds by {self.shot_effect:.2f}"
        if self.shots_move:
            return f"shots move its answers: {said} nats"
        return (
            f"shots do not move its answers: {said} nats; rounds with shots would tell nothing, so "
            "ask zero-shot only (--calls-per-example 1), or serve the model with log-probabilities"
        )

    def to_json(self) -> dict[str, Any]:
        """The finding as plain data, the inverse of `from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> DecisionsFound:
        """The finding that `to_json` wrote."""
        return cls(**data)


class DecisionsModel:
    """A model that answers with a probability for each of the label names, one request a question.

    A probability of 0 was rounded, and one of a choice that was left out is not known: both are
    bounded. Where the server tells the mass of the choices (vLLM) the answer has it, else 1.
    """

    style: Style = "text"
    swappable = True

    def __init__(
        self,
        name: str,
        base_url: str,
        *,
        api: DecisionApi = "decisions",
        extra_body: Mapping[str, Any] | None = None,
        **options: Unpack[ServerOptions],
    ) -> None:
        if api not in APIS:
            raise InputError(f"an endpoint for decisions is one of {', '.join(APIS)}, got {api!r}")
        taken = {"model", "input", "state", "questions", "stream"} & set(extra_body or {})
        if taken:
            raise InputError(f"extra_body may not set {', '.join(sorted(taken))}")
        self.name = f"decisions:{name}"
        self.api = api
        self.settings: Mapping[str, Any] = {"api": api, "extra": dict(extra_body or {})}
        self._called = name
        self._extra = dict(extra_body or {})
        self._server = Server(base_url, name, **options)

    async def ask(self, request: Request) -> Answer:
        """The answer to one request; ServerError or AnswerError where nothing can be used."""
        prompt = str(request.prompt)
        names = request.label_names
        # In the order in which the prompt lists them, which framings turn round.
        listed = sorted(names, key=prompt.find)
        body = self._body(prompt, listed)
        response, found = await self._server.call(
            "POST", f"/{self.api}", body | self._extra, lambda said: read_decision(said, names)
        )
        return Answer(
            found.logprobs,
            found.exact,
            found.mass,
            usage=wire.total_usage([response]),
            raw=self._server.hidden(response),
        )

    async def close(self) -> None:
        """Closes the connections; the next question opens new ones."""
        await self._server.close()

    @property
    def shown(self) -> str:
        """The address of its server, as it may be shown."""
        return self._server.base_url

    @property
    def requests(self) -> int:
        """How many requests were sent."""
        return self._server.requests

    @property
    def unused(self) -> Mapping[str, Any]:
        """What answers took that could not be used."""
        return self._server.unused

    def _body(self, prompt: str, names: Sequence[str]) -> dict[str, Any]:
        question: dict[str, Any] = {"type": "choice", "instructions": INSTRUCTIONS}
        if self.api == "systemone":
            asked = {QUESTION: question | {"criteria": dict.fromkeys(names)}}
            return {"model": self._called, "state": prompt, "questions": asked}
        choices = [{"value": name} for name in names]
        listed = [question | {"name": QUESTION, "choices": choices}]
        return {"model": self._called, "input": prompt, "questions": listed}


def read_decision(response: object, names: Sequence[str]) -> LabelLogprobs:
    """The log-probability of each label name in an answer of either form.

    AnswerError where it is malformed, refused (reason ``filtered``), or names none of them.
    """
    answers = response.get("answers") if isinstance(response, Mapping) else None
    if isinstance(answers, Mapping):
        answer = answers.get(QUESTION)
    else:
        listed = answers if isinstance(answers, list) else []
        answer = next((a for a in listed if _named(a, QUESTION)), None)
    if not isinstance(answer, Mapping):
        raise AnswerError("the answer has no decision", body=str(response))
    if answer.get("type") == "refusal" or answer.get("refusal"):
        raise AnswerError("the model declined to decide", body=str(response), reason="filtered")
    said = answer.get("probabilities")
    if isinstance(said, list):
        said = {p.get("value"): p.get("probability") for p in said if isinstance(p, Mapping)}
    if not isinstance(said, Mapping):
        raise AnswerError("the decision has no probabilities", body=str(response))
    known = {name: _probability(said[name], response) for name in names if name in said}
    if not any(known.values()):
        raise AnswerError("the decision gives none of the choices a probability")
    check_sum(math.log(p) for p in known.values() if p)
    mass = answer.get("label_mass")
    whole = 1.0 if mass is None else max(_probability(mass, response), ROUNDED)
    left = max(1.0 - math.fsum(known.values()), 0.0) + ROUNDED
    logprobs, exact = [], []
    for name in names:
        p = known.get(name)
        most = left if p is None else p or ROUNDED
        logprobs.append(min(0.0, math.log(min(most, 1.0) * whole)))
        exact.append(bool(p))
    return LabelLogprobs.of(logprobs, exact)


def _named(answer: object, name: str) -> bool:
    return isinstance(answer, Mapping) and name in (answer.get("name"), answer.get("id"))


def _probability(value: object, response: object) -> float:
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    if not plain or not 0 <= float(value) <= 1:  # type: ignore[arg-type]
        raise AnswerError(f"{value!r} stands where a probability should", body=str(response))
    return float(value)  # type: ignore[arg-type]


async def probe_decisions(
    base_url: str,
    name: str,
    api: Literal["auto"] | DecisionApi = "auto",
    **options: Any,  # noqa: ANN401 (those of DecisionsModel, which checks them)
) -> DecisionsFound:
    """Which form a server takes, and whether shots move the answers of a model there.

    Asked is a pattern that only the shots tell (fruits are one set, tools the other), once as it
    is and once with the labels of all shots turned round. ServerError where there is no such
    endpoint.
    """
    forms: tuple[DecisionApi, ...] = APIS if api == "auto" else (api,)
    spent = 0
    for form in forms:
        model = DecisionsModel(name, base_url, api=form, **options)
        try:
            effect, mass = await _effect_of_shots(model)
        except wire.Refused as error:
            if error.status not in _ABSENT or form == forms[-1]:
                raise
        else:
            return DecisionsFound(model.shown, name, form, effect, mass, spent + model.requests)
        finally:
            spent += model.requests
            await model.close()
    raise InputError(f"no form of an endpoint for decisions to try, of {', '.join(APIS)}")


async def _effect_of_shots(model: DecisionsModel) -> tuple[float, float | None]:
    """By how many nats shots moved the log-odds, and the mass of the choices where it was told."""
    odds, mass = [], None
    for turned in (0, 1):
        shots = [(text, label ^ turned) for text, label in _SHOTS]
        prompt = render(_FRAMING, _TARGET, shots, model.style)
        query = Query(_TARGET, framing=_FRAMING.name)
        answer = await model.ask(Request(query, prompt, _FRAMING.label_names))
        odds.append(answer.logprobs[0] - answer.logprobs[1])
        mass = answer.mass if answer.mass < 1 - ROUNDED else None
    return odds[0] - odds[1], mass
