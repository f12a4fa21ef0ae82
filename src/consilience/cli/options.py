"""The options that commands share, and what they open: data, model, store, settings."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from consilience.errors import InputError

if TYPE_CHECKING:
    from consilience import elicitation, embed, examples, models
    from consilience import store as stores

F = TypeVar("F", bound=Callable[..., Any])
Options = dict[str, Any]


def _together(*options: Callable[[F], F]) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def words(context: click.Context, option: click.Parameter, value: str | None) -> list[str] | None:
    """The words of a comma-separated option."""
    return [word.strip() for word in value.split(",") if word.strip()] if value else None


def json_object(context: click.Context, option: click.Parameter, value: str | None) -> Any:
    """The object of a JSON option."""
    if value is None:
        return None
    try:
        found = json.loads(value)
    except ValueError as error:
        raise click.BadParameter(f"not JSON: {error}") from error
    if not isinstance(found, dict):
        raise click.BadParameter("a JSON object is expected")
    return found


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
seed = click.option("--seed", default=0, show_default=True, help="Decides every random choice.")
output = click.option("--output", help="Write to this CSV, JSONL or Parquet file.")
store_needed = click.option("--store", required=True, help="The file of predictions.")
run_id = click.option(
    "--run", "run_id", help="A run in the store (a prefix is enough); the newest."
)
dry_run = click.option("--dry-run", is_flag=True, help="Print what it would cost, and ask nothing.")

source = _together(
    click.option("--data-dir", help="Folder of the publishers' files [env CONSILIENCE_DATA_DIR]."),
    click.option("--groups", type=int, help="Use so many groups, chosen by the seed."),
    click.option("--text", help='A file\'s text column, or a template: "{question} {claim}".'),
    click.option("--group", help="A file's column of groups."),
    click.option("--label", help="A file's column of gold labels: for scoring only."),
    click.option(
        "--prior-relation",
        multiple=True,
        help="A relation among the members of each group that its author built in (repeatable).",
    ),
    click.option(
        "--fact",
        multiple=True,
        help="A relation that holds in each group for logical reasons (repeatable).",
    ),
    click.option("--question", help="What is asked about each row of a file."),
    click.option("--classes", callback=words, help="A file's class names, class 0 first: no,yes."),
    click.option("--statement", help='The sentence that is true of class 1: "The claim is right".'),
    click.option("--opposite", help="The sentence that is true of class 0."),
)

model = _together(
    click.option("--model", "model_name", help="openai:NAME, or simulated:WORLD."),
    click.option("--base-url", help="The server's address, ending in /v1 [env OPENAI_BASE_URL]."),
    click.option("--api", type=click.Choice(["auto", "completions", "chat"]), default="auto"),
    click.option("--k", type=int, help="Length of the list of log-probabilities asked for."),
    click.option(
        "--extra-body", callback=json_object, help="JSON merged into each request (OpenRouter)."
    ),
    click.option("--timeout", type=float, help="Seconds that one answer may take."),
    click.option("--rate", type=float, help="Requests per minute, at most."),
)

settings = _together(
    click.option("--calls-per-example", default=8.0, show_default=True, help="The budget."),
    click.option(
        "--framings",
        callback=words,
        help="plain,negated,letters,sets [plain,negated; letters for three classes or more].",
    ),
    click.option("--anchor", help="What neutral sets differ in, if they are to be told."),
    click.option("--shots", default=12, show_default=True, help="Examples shown in a prompt."),
    click.option("--bridges", default=6, show_default=True, help="Shots from anywhere."),
    click.option("--block", default=40, show_default=True, help="Targets that share their shots."),
    click.option("--group-size", default=10, show_default=True, help="Size of a neighbourhood."),
    click.option(
        "--contrasts", default=0.0, show_default=True, help="Contrasts asked per ordinary query."
    ),
    click.option("--priors/--no-priors", default=False, help="Let design priors count."),
    click.option(
        "--settled",
        default=0.0025,
        show_default=True,
        help="Stop when a smaller share of the labels changes, twice running; 0: never.",
    ),
    click.option("--embed", default="tfidf", show_default=True, help="Or local:…, openai:NAME."),
    click.option("--embed-url", help="The server of the embeddings."),
)

spending = _together(
    click.option("--store", default=":memory:", help="The file of predictions; kept and reused."),
    click.option(
        "--concurrency", default=16, show_default=True, help="1: plain serial, for a debugger."
    ),
    click.option("--price", type=float, help="Money per million prompt tokens, to show the cost."),
    dry_run,
)


def open_data(name: str, given: Options) -> tuple[examples.Dataset, examples.Gold | None]:
    """The data set and its gold (or None) that the options of `source` describe."""
    from consilience.datasets import load_dataset
    from consilience.examples import Task

    relations: Mapping[str, bool] = {r: True for r in given["prior_relation"]} | {
        r: False for r in given["fact"]
    }
    words = {key: given[key] for key in ("question", "statement", "opposite") if given[key]}
    task = None
    if words or given["classes"]:
        if given["classes"]:
            words["classes"] = tuple(given["classes"])
        if "statement" not in words and (given["classes"] or "question" in words):
            # The default sentences speak of claims; another task has to bring its own.
            words = {"statement": None, "opposite": None} | words
        task = Task(**words)
    return load_dataset(
        name,
        groups=given["groups"],
        seed=given["seed"],
        data_dir=given["data_dir"],
        text=given["text"],
        group=given["group"],
        label=given["label"],
        relations=relations,
        task=task,
    )


def open_settings(given: Options) -> elicitation.Settings:
    """The settings of a run."""
    from consilience.elicitation import Settings
    from consilience.plan import PlanSettings

    plan = PlanSettings(
        shots=given["shots"],
        bridges=min(given["bridges"], given["shots"]),
        block=given["block"],
        group=given["group_size"],
        contrasts=given["contrasts"],
    )
    return Settings(
        calls_per_example=given["calls_per_example"],
        framings=tuple(given["framings"]) if given["framings"] else None,
        anchor=given["anchor"],
        plan=plan,
        priors=given["priors"],
        settled=given["settled"],
    )


def open_embedder(given: Options) -> embed.Embedder:
    """What turns texts into vectors."""
    from consilience.embed import open_embedder

    return open_embedder(given["embed"], given["embed_url"])


def open_model(given: Options, store: stores.Store) -> models.Model:
    """The model of the options; what a probe found is kept in the store and used again."""
    import os

    from consilience.models import open_model
    from consilience.models.capabilities import Capabilities
    from consilience.models.server import Patience

    name = given["model_name"]
    if not name:
        raise InputError("no model; say --model openai:NAME --base-url URL, or simulated:WORLD")
    kind, _, rest = name.partition(":")
    if kind != "openai":
        return open_model(name, base_url=given["base_url"])
    url = given["base_url"] or os.environ.get("OPENAI_BASE_URL")
    if not url:
        raise InputError(f"{name!r} needs the address of its server (--base-url, ending in /v1)")
    kept = store.probe(rest, url)
    capabilities = Capabilities.from_json(kept) if kept else None
    if capabilities and given["api"] not in ("auto", capabilities.api):
        capabilities = None
    opened = open_model(
        name,
        base_url=url,
        capabilities=capabilities,
        api=given["api"] if capabilities is None else None,
        k=given["k"],
        extra_body=given["extra_body"],
        patience=Patience(timeout=given["timeout"]) if given["timeout"] else None,
        requests_per_minute=given["rate"],
    )
    if capabilities is None:
        store.save_probe(rest, url, opened.capabilities.to_json())  # type: ignore[attr-defined]
    return opened
