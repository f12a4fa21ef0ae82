"""A server on this machine with the endpoints for decisions, which learns from shots, or does not.

Requests are checked as strictly as the real servers check them: an unknown field is refused.
Behind both forms is one learner. It knows the class of every text (fruits and tools, else by a
hash), gives the name of that class some of its probability, and more to what shots of that class
are labelled.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from wire_model import number_of
from wire_run import running

MODEL = "chooser"
THINGS = {"apple": 0, "pear": 0, "plum": 0, "cherry": 0, "hammer": 1, "saw": 1, "drill": 1}


def class_of(text: str) -> int:
    """The class that the learner takes a text to be of, of two."""
    return THINGS.get(text, number_of("truth", text) % 2)


@dataclass
class DecisionServer:
    """What it is asked, in order, and how it answers; `deaf` to shots, or not."""

    forms: tuple[str, ...] = ("decisions", "systemone")
    deaf: bool = False
    mass: float | None = None
    refuses: str | None = None
    url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)

    def app(self) -> Starlette:
        """The application with the forms that this server has."""
        return Starlette(
            routes=[Route(f"/v1/{form}", self._answer, methods=["POST"]) for form in self.forms]
        )

    async def _answer(self, request: Request) -> Response:
        body = json.loads(await request.body())
        form = request.url.path.rpartition("/")[2]
        self.requests.append({"form": form, "body": body})
        text, names = _systemone(body) if form == "systemone" else _decisions(body)
        if body["model"] != MODEL:
            return JSONResponse({"error": {"message": "no such model"}}, 404)
        usage = {"input_tokens": len(text) // 4, "output_tokens": 0}
        if self.refuses and self.refuses in text:
            refusal = {"type": "refusal", "name": "answer"}
            answers = {"answer": refusal} if form == "systemone" else [refusal]
            return JSONResponse({"model": MODEL, "answers": answers, "usage": usage})
        said = self.probabilities(text, names)
        best = max(said, key=said.__getitem__)
        answer: dict[str, Any] = {"type": "choice", "choice": best, "confidence": said[best]}
        if self.mass is not None:
            answer["label_mass"] = self.mass
        if form == "systemone":
            made: Any = {"answer": answer | {"probabilities": said}}
        else:
            listed = [{"value": name, "probability": p} for name, p in said.items()]
            made = [answer | {"name": "answer", "probabilities": listed}]
        return JSONResponse({"model": MODEL, "answers": made, "usage": usage})

    def probabilities(self, text: str, names: list[str]) -> dict[str, float]:
        """The probability of each name after a prompt, to four digits as servers round it."""
        _, *blocks = text.split("\n\n")
        *shots, last = [block.rpartition("\n") for block in blocks]
        mine = class_of(last[0])
        score = dict.fromkeys(names, 0.0)
        for name, c in (("False", 0), ("True", 1)):
            if name in score and c == mine:
                score[name] += 1.0
        for shown, _, answer in shots if not self.deaf else ():
            name = re.sub(r"^.*: ", "", answer)
            if class_of(shown) == mine:
                score[name] += 0.7
        total = sum(map(math.exp, score.values()))
        return {name: round(math.exp(s) / total, 4) for name, s in score.items()}


def _systemone(body: Mapping[str, Any]) -> tuple[str, list[str]]:
    assert set(body) == {"model", "state", "questions"}, body
    ((name, question),) = body["questions"].items()
    assert name == "answer" and set(question) == {"type", "instructions", "criteria"}
    assert question["type"] == "choice" and set(question["criteria"].values()) == {None}
    return body["state"], list(question["criteria"])


def _decisions(body: Mapping[str, Any]) -> tuple[str, list[str]]:
    assert set(body) == {"model", "input", "questions"}, body
    (question,) = body["questions"]
    assert set(question) == {"type", "name", "instructions", "choices"}
    assert question["type"] == "choice"
    return body["input"], [choice["value"] for choice in question["choices"]]


@contextmanager
def deciding(**options: Any) -> Iterator[DecisionServer]:
    """The server in a thread, for the length of a `with` block; options are its fields."""
    server = DecisionServer(**options)
    with running(server.app(), 0) as address:
        server.url = f"{address}/v1"
        yield server
