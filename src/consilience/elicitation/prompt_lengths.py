"""Whether the prompts of a run fit into what its model reads, told before anything is asked.

A model may say how many tokens it reads at most (`context`). Then the rounds of a run are planned
for some of the rows, with labels drawn at random as in `cost`, and the prompts measured: token by
token where the model has its tokenizer here (`tokens_of`), else by their characters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from consilience.data.dataset import Dataset
from consilience.elicitation.settings import Settings
from consilience.elicitation.stages import stage_of
from consilience.elicitation.state import RunState
from consilience.errors import InputError
from consilience.models.base import Model, Request
from consilience.prompts.token_estimates import CHARACTERS_PER_TOKEN, characters_in
from consilience.store.planned_requests import PlannedRequests

SAMPLED = 200
"""So many rows are planned for at most; their order is that of hashes, as good as a draw."""

MOST_PROMPTS = 0.2
"""A run of which a larger share of a round's prompts is too long is refused: what it asks about
would be whoever has short neighbours."""

SPARSE = 6.0
"""No usual text has more characters to a token: by so many, what is too long is surely so."""


@dataclass(frozen=True, slots=True)
class TooLong:
    """The round of which most prompts are too long for the `limit` of the model, in tokens.

    `share` of them are; `longest` is the longest and `shots` how many it shows; with `fits` shots
    it would not be too long (0: not even alone). Where tokens were not `counted` they are told by
    characters. `refused` says whether so many are surely too long that the run is not begun.
    """

    limit: int
    longest: int
    share: float
    shots: int
    fits: int
    counted: bool
    refused: bool = False

    @property
    def sentence(self) -> str:
        """What is too long, and the setting that mends it."""
        about = "" if self.counted else "about "
        said = (
            f"{about}{self.share:.0%} of the prompts with {self.shots} shots are longer than the "
            f"{self.limit:,} tokens that the model reads (the longest {about}{self.longest:,})"
        )
        if self.fits < 1:
            return f"{said}; the longest rows leave no room for shots: shorten them"
        return (
            f"{said}; {self.fits} shots would fit: --set planning.shots={self.fits}, or shots = "
            f"{self.fits} under [planning] in the task file"
        )


def check_lengths(
    data: Dataset, model: Model, settings: Settings, seed: int = 0, *, begun: bool = False
) -> str | None:
    """A sentence on what would be too long for the model; None where all fits, or is not known.

    InputError where so many are too long that a run is not to be begun, unless it has `begun`.
    """
    found = too_long(data, model, settings, seed)
    if found is not None and found.refused and not begun:
        raise InputError(f"{model.name} was not asked: {found.sentence}")
    return None if found is None else found.sentence


def too_long(data: Dataset, model: Model, settings: Settings, seed: int = 0) -> TooLong | None:
    """What would be too long for the model; None where all fits, or no limit is known."""
    limit = getattr(model, "context", None)
    if limit is None:
        return None
    count: Callable[[Request], int] | None = getattr(model, "tokens_of", None)

    def planned(shots: int) -> TooLong:
        plan = replace(settings.plan, shots=shots)
        rounds = _planned(data, model, replace(settings, plan=plan), seed)
        found = _worst_round(rounds, data, limit, count, CHARACTERS_PER_TOKEN)
        surely = found if count else _worst_round(rounds, data, limit, None, SPARSE)
        return replace(found, refused=surely.share > MOST_PROMPTS)

    found = planned(settings.plan.shots)
    if not found.share:
        return None
    fits = found.fits
    while fits and planned(fits).share:
        fits -= 1
    return replace(found, fits=fits)


def _planned(
    data: Dataset, model: Model, settings: Settings, seed: int
) -> list[list[tuple[int, Request]]]:
    """The rounds of a run of some rows: each request with its length in characters."""
    some = Dataset(data.name, data.examples[:SAMPLED], task=data.task)
    state, budget, rounds = RunState(some, settings, seed), settings.budget(some), []
    while state.planned < budget and (queries := stage_of(state)(state)):
        written = PlannedRequests(queries, some, state.framings, model).written()
        rounds.append([(characters_in(request.prompt), request) for request in written])
        state.planned += len(queries)
        state.round += 1
    return rounds


def _worst_round(
    rounds: list[list[tuple[int, Request]]],
    data: Dataset,
    limit: int,
    count: Callable[[Request], int] | None,
    ratio: float,
) -> TooLong:
    """The round of which most is too long; `count` counts tokens, else `ratio` is a token's."""
    made = []
    for asked in rounds:
        length, request = max(asked, key=lambda one: one[0])
        longest = count(request) if count else round(length / ratio)
        each = longest / length
        # The longest tells how many characters make a token, so that one of a round is counted.
        share = sum(characters * each > limit for characters, _ in asked) / len(asked)
        shown = [data.texts[data.index[id]] for id, _ in request.query.shots]
        shots = len(shown)
        # A shot has, beside its text, what a prompt has beside its texts, evenly.
        target = data.texts[data.index[request.query.target]]
        own = (length - sum(map(len, shown)) - len(target)) / (shots + 1)
        spare, fits = limit - (len(target) + 2 * own) * each, 0
        for text in sorted(shown, key=len, reverse=True):
            spare -= (len(text) + own) * each
            fits += spare >= 0
        made.append(TooLong(limit, longest, share, shots, fits, count is not None))
    return max(made, key=lambda check: (check.share, check.longest))
