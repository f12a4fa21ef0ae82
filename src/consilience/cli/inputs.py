"""What the options name, opened: data, settings, the model with its store, files to write.

All that can be wrong is found here, before a store is made and before anything is sent.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consilience.cli.options import STORE
from consilience.cli.output import talk
from consilience.errors import InputError

if TYPE_CHECKING:
    from consilience.data.dataset import Dataset, Gold
    from consilience.data.task import Task
    from consilience.datasets.source import Loaded
    from consilience.elicitation.settings import Settings
    from consilience.models import Model
    from consilience.models.budget import Budget
    from consilience.models.capabilities import Capabilities
    from consilience.models.server import RetryPolicy
    from consilience.objective.coherence import Terms
    from consilience.planning.embeddings import Embedder
    from consilience.solvers.fixed_point import Solver
    from consilience.store.database import Store

Options = Mapping[str, Any]


def open_data(name: str, given: Options, task: Task | None = None) -> tuple[Dataset, Gold | None]:
    """The data set and its gold (or None) that the options describe.

    `task` is that of a file whose options describe none.
    """
    from consilience.datasets import load_dataset

    data, gold = load_dataset(name, groups=given["groups"], **_described(given, task))
    if gold is not None and len(gold) < len(data):
        talk(f"gold for {len(gold):,} of {len(data):,} examples: the others are not scored")
    return data, gold


def open_loaded(name: str, given: Options) -> Loaded:
    """The data set with the rows of its file, which only an audit may look at."""
    from consilience.datasets import load_with_rows

    return load_with_rows(name, **_described(given))


def _described(given: Options, task: Task | None = None) -> dict[str, Any]:
    """What the options say of a data set, as `load_dataset` takes it."""
    if both := set(given["fact"]) & set(given["prior_relation"]):
        raise InputError(f"--fact and --prior-relation both say {min(both)!r}; leave one out")
    said = {
        "seed": given["seed"],
        "data_dir": given["data_dir"],
        "text": given["text"],
        "id": given["id"],
        "group": given["group"],
        "label": given["label"],
        "relations": {r: True for r in given["prior_relation"]} | {r: False for r in given["fact"]},
        "task": _task(given) or task,
    }
    chosen = given["chosen"]
    for key in chosen:
        if key in said or key == "groups":
            raise InputError(f"--set {key}=… is no option of a data set; see --help for its own")
    return {**said, **chosen}


def _task(given: Options) -> Task | None:
    from consilience.data.task import Task

    words = {key: given[key] for key in ("question", "statement", "opposite") if given[key]}
    if not words and not given["classes"]:
        return None
    if given["classes"]:
        words["classes"] = tuple(given["classes"])
    return Task(**words)


def require_task(given: Options, data: Dataset) -> None:
    """InputError where a file is to be labelled and the options do not say what is asked of it."""
    if data.origin is None:
        return
    options = {"question": '--question "SENTENCE"', "classes": "--classes NAME,NAME"}
    if missing := [option for key, option in options.items() if not given[key]]:
        raise InputError(
            f"nobody said what is asked about the rows of {data.name!r}: add "
            f"{' and '.join(missing)} (class 0 first)"
        )


def open_settings(given: Options, dataset: Dataset) -> Settings:
    """The settings of a run, which fit the data set."""
    settings = chosen_settings(given)
    settings.budget(dataset)
    return settings


def chosen_settings(given: Options) -> Settings:
    """The settings that the options describe, whatever the data set."""
    from consilience.elicitation.settings import Settings
    from consilience.planning.planner import PlanSettings

    plan = PlanSettings(
        shots=given["shots"],
        block=given["block"],
        contrasts=given["contrasts"],
    )
    return Settings(
        calls_per_example=given["calls_per_example"],
        framings=tuple(given["framings"]) if given["framings"] else None,
        anchor=given["anchor"],
        plan=plan,
        priors=given["priors"],
        settled=given["settled"],
        census=given["census"],
        bias=given["bias"],
        shares=given["share"] or None,
    )


def open_solver(name: str, starts: int | None) -> Solver:
    """The solver of that name, with so many starts."""
    from consilience.solvers.adam import Adam
    from consilience.solvers.annealing import Annealing
    from consilience.solvers.belief_propagation import BeliefPropagation
    from consilience.solvers.exhaustive import Exhaustive
    from consilience.solvers.lbfgs import LBFGS

    if name == "exhaustive":
        if starts is not None:
            raise InputError("--solver exhaustive tries every labelling; leave out --starts")
        return Exhaustive()
    kinds = {"lbfgs": LBFGS, "adam": Adam, "bp": BeliefPropagation, "annealing": Annealing}
    made: Solver = kinds[name]() if starts is None else kinds[name](starts=starts)
    return made


def open_terms(words: Sequence[str]) -> Terms:
    """The default objective with the weights that words like "entropy=0.8" give."""
    from consilience.objective.coherence import TERMS, default_terms

    terms = default_terms()
    for word in words:
        name, _, number = word.rpartition("=")
        try:
            weight = float(number)
        except ValueError:
            weight = math.nan
        if name not in TERMS or not math.isfinite(weight):
            known = ", ".join(TERMS)
            raise InputError(f"--weight takes TERM=NUMBER, got {word!r}; the terms are: {known}")
        terms[name] = (weight, TERMS[name])
    return terms


def check_device(name: str) -> None:
    """InputError where PyTorch cannot put anything on a device."""
    import torch

    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        said = str(error).splitlines()[0]
        raise InputError(f"--device {name} cannot be used here: {said}; use cpu") from error


def open_embedder(given: Options) -> Embedder:
    """What turns texts into vectors."""
    from consilience.planning.embeddings import EndpointEmbedder, open_embedder

    on_server = given["embed"].startswith("openai:")
    if given["embed_url"] and not on_server:
        raise InputError("--embed-url is for --embed openai:NAME; leave it out")
    url = (given["embed_url"] or _url(given)) if on_server else None
    made = open_embedder(given["embed"], url)
    if isinstance(made, EndpointEmbedder) and given["embed_url"]:
        from consilience.models.address import EMBED_KEY, Address, same_host

        # A key goes to the host that it belongs to, and to no other.
        if not same_host(_url(given) or "", Address.of(given["embed_url"]).url):
            made = replace(made, key=EMBED_KEY)
    return made


def patience(given: Options) -> RetryPolicy | None:
    """How long a server is waited for; None where the options do not say."""
    from consilience.models.server import RetryPolicy

    waiting = RetryPolicy()
    if given["timeout"] is not None:
        waiting = replace(waiting, timeout=given["timeout"])
    if given["retries"] is not None:
        waiting = replace(waiting, attempts=given["retries"] + 1)
    return None if waiting == RetryPolicy() else waiting


def check_model(given: Options) -> None:
    """InputError where the options name no model, or one that its other options do not suit."""
    name = given["model_name"]
    if not name:
        raise InputError(
            "no model; say --model openai:NAME --base-url URL, local:FOLDER_OR_HUB_ID, "
            "or simulated:WORLD"
        )
    kind, _, rest = name.partition(":")
    if given["local"] and kind != "local":
        raise InputError(f"--local says how a model in this process runs, and {name!r} is none")
    if kind == "openai" and rest and not _url(given):
        raise InputError(f"{name!r} needs the address of its server (--base-url, ending in /v1)")


@contextmanager
def open_model(given: Options, *, dry: bool = False) -> Iterator[tuple[Model, Store]]:
    """The model of the options and the store that keeps its answers.

    A server that the store does not know is probed, and what was found is kept in the store.
    Where `dry`, nothing is sent and no file is made: prompts are then counted as plain text.
    """
    check_model(given)

    from consilience import models
    from consilience.models.capabilities import Capabilities
    from consilience.store.database import Store

    name = given["model_name"]
    options = {
        "k": given["k"],
        "extra_body": given["extra_body"],
        "patience": patience(given),
        "requests_per_minute": given["rate"],
        "headers": given["headers"] or None,
        "budget": _budget(given),
    }
    local = given["local"]
    kind, _, rest = name.partition(":")
    if kind != "openai" or not rest:
        api = None if given["api"] == "auto" else given["api"]
        if not name.startswith("openai:"):
            if options["budget"]:
                raise InputError(f"--max-calls and --max-tokens are for a server; {name!r} is none")
            # Headers may come from the environment, for another command.
            options["headers"] = None
        model = models.open_model(name, base_url=given["base_url"], api=api, **options, **local)
        with Store(given["store"] or ":memory:") as store:
            yield model, store
        return
    from consilience.models.address import Address

    url = str(_url(given))
    # Opened before the store and before the probe, because it checks every option.
    chat = given["api"] == "chat"
    k = max(given["k"] or 0, 20)
    shown = Address.of(url).shown
    guess = Capabilities(shown, rest, "completions", "text", k, k)
    if chat:
        guess = replace(guess, api="chat", style="chat")
    model = models.open_model(name, base_url=url, capabilities=guess, **options)
    path = Path(given["store"] or STORE)
    with Store(":memory:" if dry and not path.exists() else path) as store:
        found = _kept(store, rest, shown, given["api"])
        if found is None and dry:
            talk("the server was not asked what it can do: prompts are counted as plain text")
        elif found is None:
            found = _probed(store, rest, url, given, options["budget"])
        if found is not None:
            model = models.open_model(name, base_url=url, capabilities=found, **options)
        yield model, store


def _url(given: Options) -> str | None:
    return given["base_url"] or os.environ.get("OPENAI_BASE_URL")


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


def _budget(given: Options) -> Budget | None:
    from consilience.models.budget import Budget

    most = given.get("max_calls"), given.get("max_tokens")
    return Budget(*most) if any(most) else None


def _probed(
    store: Store, name: str, url: str, given: Options, budget: Budget | None
) -> Capabilities:
    from consilience.models.event_loop import run
    from consilience.models.probe import probe

    found = run(
        probe(
            url,
            name,
            given["api"],
            extra_body=given["extra_body"],
            patience=patience(given),
            requests_per_minute=given["rate"],
            headers=given["headers"],
            budget=budget,
        )
    )
    store.save_probe(name, found.base_url, found.to_json())
    talk(
        f"probed {found.base_url}: api {found.api}, style {found.style}, {found.k} "
        f"log-probabilities; {found.calls} small requests"
    )
    return found


def check_writable(path: str) -> None:
    """InputError if no file can be written there."""
    if Path(path).is_dir():
        raise InputError(f"cannot write {path}: it is a folder")
    try:
        with tempfile.TemporaryFile(dir=Path(path).parent):
            pass
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error


def check_table(path: str | None) -> None:
    """InputError if `path` is given and the labels cannot be written there."""
    if path:
        from consilience.data.export import table_path

        table_path(path)
        check_writable(path)
