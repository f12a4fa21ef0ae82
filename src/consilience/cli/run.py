"""`run`: the whole way from data to labels."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import click

from consilience.cli import options
from consilience.cli.config import Config
from consilience.cli.inputs import (
    check_apart,
    check_filled_in,
    check_table,
    open_data,
    open_settings,
    require_task,
)
from consilience.cli.opening import (
    check_model,
    check_simulated,
    open_embedder,
    open_model,
    open_price,
    warn_of_hashes,
)
from consilience.cli.output import dump, progress_bar, say, talk
from consilience.cli.rerun import command_record
from consilience.cli.results import (
    concept_rows,
    label_table,
    open_landmarks,
    print_labels,
    question_rows,
    result,
    unanswered_rows,
    what_to_vouch_for,
)
from consilience.cli.spending import all_answered, foreseen_cost, show_estimate, spending
from consilience.cli.tables import OutputOptions
from consilience.data.counted import counted

if TYPE_CHECKING:
    from pandas import DataFrame

    from consilience.data.dataset import Dataset, Gold
    from consilience.elicitation.settings import Settings
    from consilience.evaluation.baselines import Baseline
    from consilience.evaluation.evaluation import Evaluation
    from consilience.models import Model
    from consilience.models.price import Price
    from consilience.planning.embeddings import Embedder
    from consilience.results.landmarks import Landmarks
    from consilience.results.result import Found
    from consilience.store.database import Store
    from consilience.store.progress import ProgressBar
    from consilience.store.runner import CallCounts


class Asking(NamedTuple):
    """Who is asked, how, where the answers go and who watches."""

    model: Model
    store: Store
    settings: Settings
    seed: int
    concurrency: int
    bar: ProgressBar


@options.command()
@click.argument("data", required=False, metavar="TASK|DATA")
@options.configured(
    *options.TASK,
    *options.MODEL,
    "budget.calls_per_example",
    *("output.store", "output.table", "landmarks.file", "planning"),
    seeded=True,
)
@options.dry_run
@options.as_json
def run(data: str | None, config: Config, dry_run: bool, as_json: bool) -> None:
    """Labels a data set or a file with a model, in one go.

    TASK is a task file (.toml), as `init` writes it; what is said here wins over it. DATA is a name
    from `datasets list`, a file (.csv, .tsv, .json, .jsonl, .parquet, .arrow, .feather, .xlsx; also
    .gz or .zst) or - for standard input; a file needs --question and --classes. A prompt and the
    spend are shown first. Interrupt it and run the same command again: what the store holds is not
    asked twice. The table comes back with its labels in --output, or on stdout as CSV; where there
    is gold, stdout has the scores.
    """
    config = labelling(config, data)
    check_table(config.output.table)
    check_apart(config.output.table, config)
    check_model(config)
    dataset, gold = open_data(config)
    require_task(config, dataset)
    check_simulated(config, dataset)

    # Only now what takes seconds to load: a file that is refused is refused at once.
    from consilience.evaluation.evaluation import evaluate

    settings = open_settings(config, dataset)
    embedder = open_embedder(config)
    landmarks = open_landmarks(config, dataset)
    price = open_price(config.budget)
    if gold is not None and gold.labels.keys().isdisjoint(dataset.ids):
        talk("none of these examples has gold: nothing will be scored")
        gold = None
    with open_model(config, dry=dry_run) as (model, store):
        settings = settings.suited(model, dataset.task)
        show_prompt(dataset, model, settings)
        bar, compared = progress_bar(price), None
        propose = config.relations.propose > 0
        if propose:
            compared = first_pairs(dataset, settings, config, store, keep=not dry_run)
            if all_answered(compared, model, store):
                # Only with what came of them is it the run that has begun.
                dataset = proposed(dataset, model, store, settings, embedder, config, bar)
                propose = False
        cost = foreseen_cost(dataset, model, settings, store, config, landmarks, compared)
        if dry_run:
            show_estimate(dataset, cost, as_json)
            return
        _announce(dataset, settings, store, config, spending(cost, price))
        began = time.perf_counter()
        if propose:
            dataset = proposed(dataset, model, store, settings, embedder, config, bar)
        asking = Asking(model, store, settings, config.seed, config.model.concurrency, bar)
        found = _labelled(dataset, landmarks, asking, config)
        talk(summary(found, time.perf_counter() - began, price))
        evaluation = None
        if gold is not None:
            rows = asked_baselines(dataset, gold, asking) if config.output.baselines else []
            evaluation = evaluate(found, gold, rows)
    table = label_table(found, config.output.decided_only, config.output.details)
    show_run(found, table, evaluation, config.output, as_json)


def _announce(
    dataset: Dataset, settings: Settings, store: Store, config: Config, spend: str
) -> None:
    """Says what a run is about to do."""
    talk(
        f"{dataset!r}: at most {counted(settings.budget(dataset), 'call')} to {config.model.name}, "
        + ("not kept" if store.path == ":memory:" else f"kept in {store.path}")
    )
    talk(spend)
    warn_of_hashes(dataset, str(config.model.name))


def _labelled(
    dataset: Dataset, landmarks: Landmarks | None, asking: Asking, config: Config
) -> Found:
    """The labels, calibrated where there are landmarks; the command goes into the store."""
    from consilience.elicitation.session import elicit
    from consilience.results.kept_labels import keep_labels

    asking.bar.begin("labels", most=asking.settings.budget(dataset))
    found = elicit(
        dataset,
        asking.model,
        settings=asking.settings,
        store=asking.store,
        seed=asking.seed,
        concurrency=asking.concurrency,
        landmarks=landmarks,
        progress=asking.bar,
    )
    asking.store.save_command(found.run.id, command_record(config))
    if landmarks is not None:
        found = found.calibrated(landmarks, config.landmarks.calibration)
        keep_labels(found, asking.store)
    return found


def labelling(config: Config, data: str | None) -> Config:
    """The configuration with the data that a command names, which win over those of a task file.

    InputError where the task file is not filled in.
    """
    if data is None and config.source is None:
        raise click.UsageError("Missing argument 'TASK|DATA'.", click.get_current_context())
    if data is not None:
        config = replace(config, data=replace(config.data, file=data))
    check_filled_in(config)
    return config


def proposed(
    data: Dataset,
    model: Model,
    store: Store,
    settings: Settings,
    embedder: Embedder | None,
    config: Config,
    bar: ProgressBar,
) -> Dataset:
    """The data set with the soft relations that the model proposes, asked for before all else."""
    from consilience.elicitation.proposals import propose

    bar.begin("pairs")
    made = propose(
        data,
        model,
        store=store,
        embedder=embedder,
        neighbours=config.relations.propose,
        priors=settings.priors,
        concurrency=config.model.concurrency,
        progress=bar,
    )
    talk(
        f"{made.sentence} {counted(made.asked.calls, 'call')} made "
        f"({counted(made.asked.prompt_tokens, 'prompt token')}), "
        f"{counted(made.asked.known, 'answer')} found in the store"
    )
    if made.asked.failures:
        talk(first_failure(made.asked))
    return made.data


def first_pairs(
    data: Dataset, settings: Settings, config: Config, store: Store, *, keep: bool
) -> Dataset:
    """The pairs that would be asked about, found without sending anything."""
    from consilience.elicitation.proposals import candidates
    from consilience.planning.embeddings import EndpointEmbedder, TfidfSvd
    from consilience.planning.vector_cache import kept_vectors

    embedder: Embedder | None = open_embedder(config)
    if isinstance(embedder, EndpointEmbedder):
        talk("the embedding server was not asked: pairs are counted as tfidf finds them")
        embedder = None
    vectors = kept_vectors(embedder or TfidfSvd(), data.texts, store.place, keep=keep)
    return candidates(data, vectors, config.relations.propose, priors=settings.priors)[0]


def show_run(
    found: Found,
    table: DataFrame,
    evaluation: Evaluation | None,
    said: OutputOptions,
    as_json: bool,
) -> None:
    """The table of labels to a file if one is named; scores or labels to stdout."""
    output, keep = said.table, said.keep_formulas
    if output:
        print_labels(table, output, as_json=False, keep_formulas=keep)
    if as_json:
        from consilience.data.export import plain_rows

        report = {
            "run": found.run.id,
            "result": found.solution.result.value,
            "orientation": found.polarity,
            "probabilities": found.probabilities,
            "calls": found.asked.calls,
            "absent": found.evidence.tally.absent,
            "unanswered": unanswered_rows(found),
            "verdict": {
                "kind": found.verdict.kind.value,
                "information": found.verdict.information,
                "decided": found.verdict.decided,
                "reasons": list(found.verdict.reasons),
            },
            "facts": found.facts.to_json(),
            "concepts": concept_rows(found),
            "questions": question_rows(found),
            "labels": plain_rows(table),
            "evaluation": None if evaluation is None else evaluation.table.to_dict("records"),
        }
        click.echo(dump(report))
    elif evaluation is not None:
        say(str(evaluation))
    elif not output:
        print_labels(table, None, as_json=False, keep_formulas=keep)


def asked_baselines(data: Dataset, gold: Gold, asking: Asking) -> list[Baseline]:
    """The baselines that ask the model, each through the same store."""
    from consilience.evaluation import baselines

    bench = baselines.BaselineContext(
        data,
        asking.model,
        store=asking.store,
        settings=asking.settings,
        seed=asking.seed,
        concurrency=asking.concurrency,
        progress=asking.bar,
    )
    found = []
    for name, baseline in (
        ("zero-shot", baselines.zero_shot),
        ("random-label shots", baselines.random_shots),
        ("bootstrap", baselines.bootstrap),
        ("golden shots", lambda bench: baselines.golden_shots(bench, gold)),
    ):
        asking.bar.begin(name)
        found.append(baseline(bench))
    return found


def show_prompt(data: Dataset, model: Model, settings: Settings) -> None:
    """One whole prompt, as it will be sent: what is asked can be read before it is paid for."""
    from consilience.prompts.framing import render

    query = settings.zero_shot(data)[0]
    made = settings.framings_for(data)
    framing = next(f for f in made if f.name == query.framing)
    example = data.examples[data.index[query.target]]
    prompt = render(framing, example.text, style=model.style)
    if not isinstance(prompt, str):
        prompt = "\n".join(f"{turn['role']}: {turn['content']}" for turn in prompt)
    names = ", ".join(
        f"{c!r} is {n!r}" for c, n in zip(data.task.classes, framing.label_names, strict=True)
    )
    if data.note:
        talk(data.note)
    if dropped := {*map(str, settings.framings or ())} - {f.name.partition("-")[0] for f in made}:
        talk(f"the framing {', '.join(dropped)} is left out: the task says no `opposite` sentence")
    talk(
        f"── a prompt ({framing.name}; class {names}); later ones show labelled examples first\n"
        f"{prompt}\n──"
    )


def summary(found: Found, seconds: float, price: Price | None) -> str:
    """What a run came to, in a few lines."""
    run, asked = found.run, found.asked
    money = ""
    if price is not None:
        spent = price.of(asked.prompt_tokens, asked.cached_tokens, asked.output_tokens)
        money = f", {price.called(spent)} in all"
    lines = [
        f"run {run.id}: {counted(len(found.dataset), 'example')}, {counted(run.rounds, 'round')}, "
        f"{counted(asked.calls, 'call')} made "
        f"({counted(asked.prompt_tokens, 'prompt token')}{money}), "
        f"{counted(asked.known, 'answer')} found in the store, {seconds:.0f} s",
        result(found),
        *what_to_vouch_for(found),
    ]
    # A remainder too small for another round is not a saving.
    if found.settled and found.saved >= len(found.dataset):
        lines.append(f"Stopped early: the labels had settled, {found.saved} calls were saved.")
    if asked.failures:
        lines.append(first_failure(asked))
    lines += asked.notes
    if asked.ended:
        lines.append(f"Ended early: {asked.ended}.")
    return "\n".join(lines)


def first_failure(asked: CallCounts) -> str:
    """How many queries stayed without a prediction, and why the first of them did."""
    return f"{len(asked.failures)} queries failed, the first: {next(iter(asked.failures.values()))}"
