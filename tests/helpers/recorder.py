"""A model that records how it was asked, and faults for it to make."""

from __future__ import annotations

import asyncio
import json
import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from consilience.models.base import Answer, Request
from consilience.prompts.framing import Style
from wire_model import number_of


@dataclass
class Recorder:
    """A model of somebody else: four members, and here a record of how it was asked.

    `fault` is called with the number of the call, from 1, before it is answered.
    """

    fault: Callable[[int], None] = lambda call: None
    pause: float = 0.0
    usage: Mapping[str, Any] = field(default_factory=dict)
    name: str = "yours"
    style: Style = "text"
    settings: Mapping[str, Any] = field(default_factory=dict)
    asked: list[Request] = field(default_factory=list)
    threads: set[int] = field(default_factory=set)
    under_way: int = 0
    most: int = 0

    async def ask(self, request: Request) -> Answer:
        self.asked.append(request)
        self.threads.add(threading.get_ident())
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        call = len(self.asked)
        try:
            # Later ones are answered sooner, so that an order that is kept is kept on purpose.
            await asyncio.sleep(self.pause / call)
            self.fault(call)
        finally:
            self.under_way -= 1
        p = 0.05 + 0.9 * (number_of(json.dumps(request.prompt)) % 1000) / 1000
        names = len(request.label_names)
        rest = [math.log((1 - p) / (names - 1))] * (names - 1)
        return Answer((math.log(p), *rest), (True,) * names, 1.0, usage=self.usage)


def failing(
    calls: Callable[[int], bool], error: Callable[[], BaseException]
) -> Callable[[int], None]:
    def fault(call: int) -> None:
        if calls(call):
            raise error()

    return fault
