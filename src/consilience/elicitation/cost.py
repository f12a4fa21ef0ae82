"""What a run will take, before anything is spent: calls, tokens, money.

Rounds that the run has planned are taken as they are; where its labels have settled, nothing comes
after them. The queries of later rounds depend on labels that are not there yet, so they are planned
with labels drawn at random: the number of calls is exact, and so, up to which shots are drawn, is
the length of the prompts. Tokens are counted from characters: by the ratio that the store has seen
for this model, else four characters to a token, and the estimate says which.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from consilience.data.dataset import Dataset
from consilience.elicitation.session import has_settled
from consilience.elicitation.settings import Settings, record
from consilience.elicitation.stages import stage_of
from consilience.elicitation.state import RunState
from consilience.models.base import Model
from consilience.models.price import Price
from consilience.objective.coherence import default_terms
from consilience.prompts.query import Query
from consilience.prompts.token_estimates import CHARACTERS_PER_TOKEN, characters_in, round_up
from consilience.results.landmarks import Landmarks
from consilience.solvers.lbfgs import LBFGS
from consilience.store.database import Store
from consilience.store.identities import run_identity
from consilience.store.planned_requests import PlannedRequests
from consilience.store.schema import Planned
from consilience.store.verification import Steps


@dataclass(frozen=True, slots=True)
class Estimate:
    """Calls, tokens and money of a run.

    `calls` is the most that are still to be made, `known` how many the store has answers to, of the
    rounds that were planned, or the first; the rest is about the calls. `requests` is what a server
    is sent for them (more where label names are asked word by word). `fresh_tokens` are those that
    a prefix cache cannot serve, if it serves every prefix shared within a round; `output_tokens`
    those of the answers. Money is in the unit of the price, None without one; of what a cache
    serves it counts the price of that, if there is one.
    """

    calls: int
    requests: int
    known: int
    prompt_tokens: int
    fresh_tokens: int
    output_tokens: int
    money: float | None
    basis: str

    def __add__(self, other: Estimate) -> Estimate:
        """What two askings take; tokens of both are counted as those of the first."""
        return Estimate(
            self.calls + other.calls,
            self.requests + other.requests,
            self.known + other.known,
            self.prompt_tokens + other.prompt_tokens,
            self.fresh_tokens + other.fresh_tokens,
            self.output_tokens + other.output_tokens,
            None if self.money is None or other.money is None else self.money + other.money,
            self.basis,
        )

    def to_json(self) -> Mapping[str, Any]:
        """The estimate as plain data."""
        return {name: getattr(self, name) for name in self.__slots__}


def estimate(
    data: Dataset,
    model: Model,
    settings: Settings,
    store: Store,
    *,
    seed: int = 0,
    price: Price | None = None,
    landmarks: Landmarks | None = None,
) -> Estimate:
    """What a run of these settings will still take, and with a `price` what that costs."""
    settings = settings.suited(model, data.task)
    run = _run_of(data, model, settings, seed, landmarks)
    begun = store.rounds(run)
    budget = settings.budget(data)
    characters = fresh = known = sent = 0
    steps = getattr(model, "requests_for", None)
    # Nothing is ever answered, so that every stage plans with labels that are drawn.
    state = RunState(data, settings, seed)
    while queries := _queries(state, begun, budget):
        rows = PlannedRequests(queries, data, state.framings, model)
        left = rows.written()
        if state.round < max(1, len(begun)):  # nobody has asked what is planned with drawn labels
            there = store.known(rows.all_keys)
            left = (request for key, request in rows if key not in there)
            known += len(there)
        shared: set[tuple[object, ...]] = set()
        for request in left:
            query, length = request.query, characters_in(request.prompt)
            each = steps(request.label_names) if steps else 1
            sent += each
            characters += each * length
            prefix = query.framing, query.shots
            fresh += len(data.texts[data.index[query.target]]) if prefix in shared else length
            shared.add(prefix)
        state.planned += len(queries)
        state.round += 1
        whole = state.round == len(begun) and known == state.planned < budget
        if whole and has_settled(store, run):
            break
    ratio, basis = token_ratio(store, model.name, steps)
    tokens = round_up(characters / ratio)
    uncached = min(tokens, round_up(fresh / ratio))
    return Estimate(
        calls=state.planned - known,
        requests=sent,
        known=known,
        prompt_tokens=tokens,
        fresh_tokens=uncached,
        output_tokens=sent,
        money=None if price is None else price.of(tokens, tokens - uncached, sent),
        basis=basis,
    )


def _run_of(
    data: Dataset, model: Model, settings: Settings, seed: int, landmarks: Landmarks | None
) -> str:
    """The id that a run of these settings has, whether it has begun or not."""
    return run_identity(
        {
            "dataset": data.fingerprint,
            "model": model.name,
            "style": model.style,
            "seed": seed,
            "model_settings": model.settings,
            "settings": record(settings, default_terms(), LBFGS(), landmarks),
        }
    )


def _queries(state: RunState, begun: Sequence[Sequence[Planned]], budget: int) -> list[Query]:
    """The queries of the next round; none where the budget is at an end."""
    if state.round < len(begun):
        return [query for _, query in begun[state.round]]
    return stage_of(state)(state) if state.planned < budget else []


def token_ratio(store: Store, model: str, steps: Steps | None = None) -> tuple[float, str]:
    """How many characters of what is sent make a token, and how that is known."""
    ratio = store.characters_per_token(model, steps)
    if ratio:
        return ratio, f"{ratio:.2f} characters to a token, as the store has seen for this model"
    return CHARACTERS_PER_TOKEN, f"{CHARACTERS_PER_TOKEN:g} characters to a token, a guess"
