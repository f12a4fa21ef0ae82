"""Several servers of one model: each question goes to one, and to another where that one fails."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from consilience.errors import AnswerError, InputError, ServerError
from consilience.models.base import Answer, Model, Request
from consilience.prompts.framing import Style

REST = 10.0
"""So many seconds a server that failed is left alone, while another answers."""

TIMES_ROUND = 6
"""So often all servers are tried before a question is given up."""


class Endpoints:
    """A model behind several servers, which are asked in turn.

    `models` are the same model on each server, none of which needs patience of its own: a question
    that a server fails goes to the next, and after each time round all wait `pause` seconds, twice
    as long each time. InputError where they differ in what changes answers.
    """

    swappable = True

    def __init__(self, models: Sequence[Model], *, pause: float = 0.5) -> None:
        one, *others = models
        for other in others:
            if (other.name, other.style, other.settings) != (one.name, one.style, one.settings):
                raise InputError(
                    f"the servers of {one.name!r} can do different things, so that their answers "
                    "are not the same; name those that run alike"
                )
        self.name: str = one.name
        self.style: Style = one.style
        self.settings: Mapping[str, Any] = one.settings
        self._models, self._turn, self._pause = list(models), 0, pause
        self._rests_until = [0.0] * len(models)

    async def ask(self, request: Request) -> Answer:
        """The answer of the first server that gives one; the last one's error where none does."""
        loop = asyncio.get_running_loop()
        self._turn += 1
        turn = self._turn - 1
        for round in range(TIMES_ROUND):
            places = [(turn + step) % len(self._models) for step in range(len(self._models))]
            awake = [at for at in places if self._rests_until[at] <= loop.time()]
            hopeless = True
            for at in awake or places:
                try:
                    return await self._models[at].ask(request)
                except (ServerError, AnswerError) as error:
                    if error.reason is not None:
                        raise
                    failed = error
                    hopeless = hopeless and error.fatal
                    if isinstance(error, ServerError):
                        self._rests_until[at] = loop.time() + REST
            if hopeless and len(awake or places) == len(places):
                break
            if round < TIMES_ROUND - 1:
                await asyncio.sleep(self._pause * 2**round)
        raise failed

    async def close(self) -> None:
        """Closes all connections."""
        for model in self._models:
            if (close := getattr(model, "close", None)) is not None:
                await close()
