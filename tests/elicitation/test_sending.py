"""The order in which a round is sent: prompts that begin alike, one after the other."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from consilience.elicitation.session import Session
from consilience.elicitation.settings import Settings
from consilience.models.simulated import SimulatedModel, world_dataset
from consilience.prompts.shared_prefixes import flat, shared
from consilience.store.database import Store


class Noting(SimulatedModel):
    """A model that notes what it is asked."""

    def __init__(self, world):
        super().__init__(world)
        self.asked = []

    async def ask(self, request):
        self.asked.append(request)
        return await super().ask(request)


def changes(queries):
    """How often the shots, or the framing, are others than those of the query before."""
    return sum((a.framing, a.shots) != (b.framing, b.shots) for a, b in pairwise(queries))


def common(a, b):
    pairs = enumerate(zip(a, b, strict=False))
    return next((i for i, (x, y) in pairs if x != y), min(len(a), len(b)))


def test_a_server_that_keeps_one_prompt_serves_as_much_as_one_that_keeps_all():
    data, _ = world_dataset("noisy", 160, 0)
    model = Noting("noisy")
    with Store() as store:
        session = Session(data, model, store, settings=Settings(calls_per_example=8))
        first = session.state.census.begin
        while session.round <= first:
            model.asked = []
            planned = session.next_queries()
            session.ask(planned, concurrency=1)
            kept = [query for _, query in store.rounds(session.run)[-1]]
            session.learn()
    # A round of the discovery, the plan of which stays as it was made.
    sent = [request.query for request in model.asked]
    assert kept == planned
    assert sorted(map(repr, sent)) == sorted(map(repr, planned))
    assert changes(sent) < 0.7 * changes(planned)
    prompts = [flat(request.prompt) for request in model.asked]
    by_last = [0, *(common(a, b) for a, b in pairwise(prompts))]
    assert np.array_equal(shared(prompts), by_last)
