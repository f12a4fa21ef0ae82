"""The model that a configuration names, with the store that keeps its answers.

All that can be wrong is found here, before a store is made and before anything is sent.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consilience.cli.options import STORE
from consilience.cli.output import talk
from consilience.cli.task_file import line_of
from consilience.cli.values import with_headers_of_environment
from consilience.errors import InputError

if TYPE_CHECKING:
    from consilience.cli.config import Config
    from consilience.cli.tables import BudgetOptions, ModelOptions
    from consilience.data.dataset import Dataset
    from consilience.models import Model
    from consilience.models.budget import Budget
    from consilience.models.capabilities import Capabilities
    from consilience.models.decisions import DecisionsFound
    from consilience.models.price import Price
    from consilience.models.server import RetryPolicy, ServerOptions
    from consilience.planning.embeddings import Embedder
    from consilience.store.database import Store
    from consilience.store.ray_engine import ServedModel


def open_embedder(config: Config) -> Embedder:
    """What turns texts into vectors."""
    from consilience.planning.embeddings import EndpointEmbedder, open_embedder

    name, own_url = config.relations.embed, config.relations.embed_url
    on_server = name.startswith("openai:")
    if own_url and not on_server:
        raise InputError("relations.embed_url is for relations.embed openai:NAME; leave it out")
    url = (own_url or _url(config.model)) if on_server else None
    made = open_embedder(name, url)
    if isinstance(made, EndpointEmbedder):
        from consilience.models.address import EMBED_KEY, Address, same_host

        # Keys and headers go to the host that they belong to, and to no other.
        if not same_host(_url(config.model) or "", Address.of(made.base_url).url):
            return replace(made, key=EMBED_KEY)
        return replace(made, options=_reached(config.model))
    return made


def open_price(said: BudgetOptions) -> Price | None:
    """What tokens cost; None where nobody said."""
    if said.price is None:
        if said.max_cost is not None:
            raise InputError("budget.max_cost needs budget.price=INPUT[,CACHED[,OUTPUT]]")
        return None
    from consilience.models.price import Price

    first, *more = said.price
    cached, output = (*more, None, None)[:2]
    return Price(first, cached, output, said.currency)


def patience(said: ModelOptions) -> RetryPolicy | None:
    """How long a server is waited for; None where nobody said."""
    from consilience.models.server import RetryPolicy

    waiting = RetryPolicy()
    if said.timeout is not None:
        waiting = replace(waiting, timeout=said.timeout)
    if said.retries is not None:
        waiting = replace(waiting, attempts=said.retries + 1)
    return None if waiting == RetryPolicy() else waiting


def check_model(config: Config) -> None:
    """InputError where no model is named, or one that what else is said does not suit."""
    said = config.model
    if not said.name and config.source is not None:
        line = line_of(config.source, "model", "name")
        raise InputError(
            f'{config.source}, line {line}: fill in `name` of [model]: "openai:NAME" with a '
            'base_url, "local:FOLDER_OR_HUB_ID", or "simulated:WORLD"'
        )
    if not said.name:
        raise InputError(
            "no model; say --model openai:NAME --base-url URL, local:FOLDER_OR_HUB_ID, "
            "or simulated:WORLD"
        )
    kind, _, rest = said.name.partition(":")
    if said.local and kind != "local":
        raise InputError(
            f"model.local says how a model in this process runs, and {said.name!r} is none"
        )
    if kind in ("openai", "decisions") and rest and not _url(said):
        raise InputError(
            f"{said.name!r} needs the address of its server (--base-url, ending in /v1)"
        )
    if kind == "decisions" and said.top_logprobs is not None:
        raise InputError(
            f"{said.name!r} answers with a probability for each choice, and has no list of "
            "log-probabilities; leave out model.top_logprobs"
        )
    open_price(config.budget)


def check_simulated(config: Config, data: Dataset) -> None:
    """InputError where a simulated model is to do what it cannot: pairs, or so many classes."""
    from consilience.models.simulated import WORLDS

    kind, _, name = str(config.model.name).partition(":")
    if kind == "simulated" and config.relations.propose:
        raise InputError("a simulated model knows nothing of pairs; leave out relations.propose")
    if kind == "simulated" and name in WORLDS and WORLDS[name].k != data.task.k:
        fits = [f"simulated:{other}" for other, world in WORLDS.items() if world.k == data.task.k]
        raise InputError(
            f"{config.model.name} answers with {WORLDS[name].k} classes, and the task has "
            f"{data.task.k}; name a model that has as many{': ' * bool(fits)}{', '.join(fits)}"
        )


@contextmanager
def open_model(config: Config, *, dry: bool = False) -> Iterator[tuple[Model, Store]]:
    """The model of a configuration and the store that keeps its answers.

    A server that the store does not know is probed, and what was found is kept in the store.
    Where `dry`, nothing is sent and no file is made: prompts are then counted as plain text.
    """
    check_model(config)
    name = str(config.model.name)
    budget = _budget(config.budget)
    kind, _, rest = name.partition(":")
    if kind == "openai" and rest:
        opened = _open_server(config, budget, rest, dry=dry)
    elif kind == "decisions" and rest:
        opened = _open_decisions(config, budget, dry=dry)
    else:
        opened = _open_here(config, budget, dry=dry)
    with opened as both:
        yield both


@contextmanager
def _open_here(
    config: Config, budget: Budget | None, *, dry: bool
) -> Iterator[tuple[Model, Store]]:
    """A model in this process, and the store that keeps its answers, if any."""
    from consilience import models
    from consilience.store.database import Store

    said, name = config.model, str(config.model.name)
    options = {**_transport(said), "k": said.top_logprobs, "budget": budget}
    if not name.startswith("openai:"):
        if budget:
            raise InputError(
                f"a budget of calls, tokens or money is for a server; {name!r} is none"
            )
        # Headers may come from the environment, for another command.
        options["headers"] = None
    api = None if said.api == "auto" else said.api
    model = models.open_model(name, base_url=said.base_url, api=api, **options, **said.local)
    with Store(_place(config.output.store or ":memory:", dry)) as store:
        yield model, store


def _place(path: str, dry: bool) -> str:
    """Where answers are kept; in memory where a `dry` command would have to make the file."""
    return ":memory:" if dry and not Path(path).exists() else path


@contextmanager
def _open_server(
    config: Config, budget: Budget | None, rest: str, *, dry: bool
) -> Iterator[tuple[Model, Store]]:
    """A model behind a server, probed where the store does not know it."""
    from consilience import models
    from consilience.models.address import Address
    from consilience.models.capabilities import Capabilities
    from consilience.store.database import Store

    said, name = config.model, str(config.model.name)
    options = {**_transport(said), "k": said.top_logprobs, "budget": budget}
    url = str(_url(said))
    # Opened before the store and before the probe, because it checks every option.
    chat = said.api == "chat"
    k = max(said.top_logprobs or 0, 20)
    shown = Address.of(url).shown
    guess = Capabilities(shown, rest, "completions", "text", k, k)
    if chat:
        guess = replace(guess, api="chat", style="chat")
    model = models.open_model(name, base_url=url, capabilities=guess, **options)
    with Store(_place(config.output.store or STORE, dry)) as store:
        found = _kept(store, rest, shown, said.api)
        if found is None and dry:
            talk("the server was not asked what it can do: prompts are counted as plain text")
        elif found is None:
            found = _probed(store, rest, url, said, budget)
        if found is not None:
            model = models.open_model(name, base_url=url, capabilities=found, **options)
        yield model, store


@contextmanager
def _open_decisions(
    config: Config, budget: Budget | None, *, dry: bool
) -> Iterator[tuple[Model, Store]]:
    """A model behind an endpoint for decisions, probed where the store does not know it."""
    from consilience.models.decisions import DecisionsFound, DecisionsModel
    from consilience.store.database import Store

    said = config.model
    name, url = str(said.name), str(_url(said))
    called = name.removeprefix("decisions:")
    options = {**_transport(said), "budget": budget}
    api: Any = None if said.api == "auto" else said.api
    # Opened before the store and before the probe, because it checks every option.
    model = DecisionsModel(called, url, api=api or "decisions", **options)
    with Store(_place(config.output.store or STORE, dry)) as store:
        kept = store.probe(name, model.shown)
        found = None if kept is None else DecisionsFound.from_json(kept)
        if not dry and (found is None or api not in (None, found.api)):
            found = probed_decisions(url, name, said, budget)
            store.save_probe(name, found.base_url, found.to_json())
            talk(f"probed {found.base_url}: /{found.api}; {found.sentence}")
        if found is not None and api is None:
            model = DecisionsModel(called, url, api=found.api, **options)
        yield model, store


def probed_decisions(
    url: str, name: str, said: ModelOptions, budget: Budget | None = None
) -> DecisionsFound:
    """Which form of an endpoint for decisions a server has, and whether shots move answers."""
    from consilience.models.decisions import probe_decisions
    from consilience.models.event_loop import run

    called = name.removeprefix("decisions:")
    api: Any = said.api
    return run(probe_decisions(url, called, api, **_transport(said), budget=budget))


def served_model(config: Config, urls: Sequence[str], model: Model) -> ServedModel:
    """The model of a configuration for workers elsewhere, on each of the servers.

    `model` is that on the first; the others are probed. InputError for a model on no server, and
    for a budget, which workers do not share.
    """
    from consilience.models.openai import OpenAIModel
    from consilience.store.ray_engine import ServedModel

    said = config.model
    if not isinstance(model, OpenAIModel):
        raise InputError(f"{said.name!r} is on no server; --engine ray is for openai:NAME")
    if _budget(config.budget):
        raise InputError("--engine ray keeps to no budget; leave it out")
    first, *others = urls or [str(_url(said))]
    servers = {first: model.capabilities}
    servers |= {url: probed(url, str(said.name), said) for url in others}
    options = {**_transport(said), "k": said.top_logprobs}
    return ServedModel(str(said.name), servers, options)


def _reached(said: ModelOptions) -> ServerOptions:
    """How a server is reached, whatever it is asked."""
    headers: Mapping[str, str] = with_headers_of_environment(dict(said.headers))
    return {
        "patience": patience(said),
        "requests_per_minute": said.rate,
        "headers": headers or None,
    }


def _transport(said: ModelOptions) -> dict[str, Any]:
    """How a server is asked, as `open_model` and `probe` take it."""
    return {"extra_body": said.extra_body, **_reached(said)}


def _url(said: ModelOptions) -> str | None:
    return said.base_url or os.environ.get("OPENAI_BASE_URL")


def _kept(store: Store, name: str, url: str, api: str) -> Capabilities | None:
    """What the store has of an earlier probe, if that answers for the endpoint asked for."""
    from consilience.models.capabilities import Capabilities

    kept = store.probe(name, url)
    if kept is None:
        return None
    found = Capabilities.from_json(kept)
    if api != "auto":
        return found if found.api == api else None
    # A probe of the chat endpoint alone does not say that the other one would not do.
    chat_alone = found.api == "chat" and found.completions == "not tried"
    return None if chat_alone else found


def _budget(said: BudgetOptions) -> Budget | None:
    from consilience.models.budget import Budget

    if not (said.max_calls or said.max_tokens or said.max_cost):
        return None
    return Budget(said.max_calls, said.max_tokens, said.max_cost, open_price(said))


def _probed(
    store: Store, name: str, url: str, said: ModelOptions, budget: Budget | None
) -> Capabilities:
    found = probed(url, name, said, budget)
    store.save_probe(name, found.base_url, found.to_json())
    talk(
        f"probed {found.base_url}: api {found.api}, style {found.style}, {found.k} "
        f"log-probabilities; {found.calls} small requests"
    )
    return found


def probed(
    url: str, name: str | None, said: ModelOptions, budget: Budget | None = None
) -> Capabilities:
    """What a server can do; `name` None is its only model."""
    from consilience.models.event_loop import run
    from consilience.models.listing import only_model
    from consilience.models.probe import probe

    transport = _transport(said)
    if name is None:
        some = {key: transport[key] for key in ("patience", "headers")}
        name = run(only_model(url, **some))
    api: Any = said.api
    return run(probe(url, name.removeprefix("openai:"), api, **transport, budget=budget))


def warn_of_hashes(data: Dataset, model: str) -> None:
    """Says so where a simulated model labels texts that it did not make up."""
    from consilience.models.simulated import WORLDS

    if model.startswith("simulated:") and data.name not in WORLDS:
        talk("a simulated model answers real texts by a hash: these labels mean nothing")
