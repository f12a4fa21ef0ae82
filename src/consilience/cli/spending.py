"""What a command will spend, shown before it does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from consilience.cli.config import Config
from consilience.cli.opening import open_price
from consilience.cli.output import pairs, talk
from consilience.data.counted import counted

if TYPE_CHECKING:
    from consilience.data.dataset import Dataset
    from consilience.elicitation.settings import Settings
    from consilience.models import Model
    from consilience.models.price import Price
    from consilience.results.landmarks import Landmarks
    from consilience.store.database import Store


def foreseen_cost(
    data: Dataset,
    model: Model,
    settings: Settings,
    store: Store,
    config: Config,
    landmarks: Landmarks | None,
    compared: Dataset | None = None,
) -> dict[str, Any]:
    """What the run will still take at most, the pairs that are `compared` included."""
    from consilience.elicitation.cost import estimate
    from consilience.elicitation.prompt_lengths import check_lengths

    price = open_price(config.budget)
    cost = estimate(
        data, model, settings, store, seed=config.seed, price=price, landmarks=landmarks
    )
    if note := check_lengths(data, model, settings, config.seed, begun=cost.known > 0):
        talk(note)
    more: dict[str, Any] = {}
    if compared is not None:
        from consilience.elicitation.proposals import settings_for

        asked = estimate(compared, model, settings_for(compared), store, price=price)
        cost, more = cost + asked, {"calls_for_pairs": asked.calls}
    currency = {"currency": price.currency} if price is not None and price.currency else {}
    named = {} if price is None else {"price": price.sentence}
    return {**cost.to_json(), **currency, **named, **more}


def all_answered(pairs: Dataset, model: Model, store: Store) -> bool:
    """Whether the store has the answers to all pairs that a model is to compare."""
    from consilience.elicitation.cost import estimate
    from consilience.elicitation.proposals import settings_for

    return estimate(pairs, model, settings_for(pairs), store).calls == 0


def show_estimate(data: Dataset, cost: Mapping[str, Any], as_json: bool) -> None:
    """What a run would take, as a table or as JSON."""
    named = [("examples", len(data)), *((k.replace("_", " "), v) for k, v in cost.items())]
    pairs(cost.items() if as_json else named, as_json)


def spending(cost: Mapping[str, Any], price: Price | None) -> str:
    """What a run will still take at most, in a line."""
    calls, known = cost["calls"], cost["known"]
    if not calls:
        return f"spend: nothing; the store has the answers to all {counted(known, 'call')}"
    cached = cost["prompt_tokens"] - cost["fresh_tokens"]
    money = ""
    if price is not None and cost["money"] is not None:
        money = f"; about {price.called(cost['money'])} for all of them"
    sent = "" if cost["requests"] == calls else f" in {counted(cost['requests'], 'request')}"
    there = f"; {known:,} are known" if known else ""
    return (
        f"spend: at most {counted(calls, 'call')}{sent}{there}; about "
        f"{cost['prompt_tokens']:,} prompt tokens ({cached:,} a cache can serve) and "
        f"{cost['output_tokens']:,} of answers{money}"
    )
