"""`run`: the whole way from data to labels."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from consilience.cli import options
from consilience.cli.inputs import (
    Options,
    check_model,
    check_table,
    open_data,
    open_embedder,
    open_model,
    open_settings,
    require_task,
)
from consilience.cli.output import dump, pairs, progress_bar, talk
from consilience.cli.results import (
    concept_rows,
    label_table,
    open_landmarks,
    print_labels,
    question_rows,
    result,
    what_to_vouch_for,
)
from consilience.errors import InputError

if TYPE_CHECKING:
    from pandas import DataFrame

    from consilience.data.dataset import Dataset, Gold
    from consilience.elicitation.settings import Settings
    from consilience.evaluation.baselines import Baseline
    from consilience.evaluation.evaluation import Evaluation
    from consilience.models import Model
    from consilience.planning.embeddings import Embedder
    from consilience.results.result import Found
    from consilience.store.database import Store
    from consilience.store.progress import ProgressBar
    from consilience.store.runner import CallCounts


@click.command()
@click.argument("data")
@options.described
@options.groups
@options.seed
@options.model
@options.settings
@options.propose
@options.embedding
@options.store
@options.concurrency
@options.budget
@options.price
@options.dry_run
@options.output
@options.details
@options.keep_formulas
@options.decided_only
@options.landmarks
@click.option(
    "--baselines",
    is_flag=True,
    help="Where there is gold: also ask each baseline, with as many calls.",
)
@options.as_json
def run(data: str, **given: Any) -> None:
    """Labels a data set or a file with a model, in one go.

    DATA is a name from `datasets list`, a file (.csv, .tsv, .json, .jsonl, .parquet, .arrow,
    .feather, .xlsx; also .gz or .zst) or - for standard input; a file needs --question and
    --classes. Interrupt it and run the same command again: what the store holds is not asked twice.
    The table comes back with its labels in --output, or on stdout as CSV; where there is gold,
    stdout has the scores.
    """
    check_table(given["output"])
    check_model(given)
    dataset, gold = open_data(data, given)
    require_task(given, dataset)

    # Only now what takes seconds to load: a file that is refused is refused at once.
    from consilience.elicitation.session import elicit
    from consilience.evaluation.evaluation import evaluate

    settings = open_settings(given, dataset)
    embedder = open_embedder(given)
    landmarks = open_landmarks(given["landmarks"], given["calibration"], dataset, given["text"])
    if gold is not None and gold.labels.keys().isdisjoint(dataset.ids):
        talk("none of these examples has gold: nothing will be scored")
        gold = None
    if given["propose"] and str(given["model_name"]).startswith("simulated:"):
        raise InputError("a simulated model knows nothing of pairs; leave out --propose")
    with open_model(given, dry=given["dry_run"]) as (model, store):
        show_prompt(dataset, model, settings)
        if given["dry_run"]:
            compared = first_pairs(dataset, settings, given) if given["propose"] else None
            show_estimate(dataset, model, settings, store, given, compared)
            return
        talk(
            f"{dataset!r}: at most {settings.budget(dataset):,} calls to {given['model_name']}, "
            + ("not kept" if store.path == ":memory:" else f"kept in {store.path}")
        )
        warn_of_hashes(dataset, given["model_name"])
        began = time.perf_counter()
        bar = progress_bar(given["price"])
        if given["propose"]:
            dataset = proposed(dataset, model, store, settings, embedder, given, bar)
        found = elicit(
            dataset,
            model,
            settings=settings,
            store=store,
            seed=given["seed"],
            concurrency=given["concurrency"],
            landmarks=landmarks,
            progress=bar,
        )
        if landmarks is not None:
            found = found.calibrated(landmarks, given["calibration"])
        talk(summary(found, time.perf_counter() - began, given["price"]))
        evaluation = None
        if gold is not None:
            rows = []
            if given["baselines"]:
                rows = asked_baselines(
                    dataset, gold, model, store, settings, given["seed"], given["concurrency"], bar
                )
            evaluation = evaluate(found, gold, rows)
    table = label_table(found, given["decided_only"], given["details"])
    show_run(found, table, evaluation, given)


def proposed(
    data: Dataset,
    model: Model,
    store: Store,
    settings: Settings,
    embedder: Embedder | None,
    given: Options,
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
        neighbours=given["propose"],
        priors=settings.priors,
        concurrency=given["concurrency"],
        progress=bar,
    )
    talk(
        f"{made.sentence} {made.asked.calls:,} calls made ({made.asked.prompt_tokens:,} prompt "
        f"tokens), {made.asked.known:,} answers found in the store"
    )
    if made.asked.failures:
        talk(first_failure(made.asked))
    bar.begin("labels")
    return made.data


def first_pairs(data: Dataset, settings: Settings, given: Options) -> Dataset:
    """The pairs that would be asked about, found without sending anything."""
    from consilience.elicitation.proposals import candidates
    from consilience.planning.embeddings import EndpointEmbedder, TfidfSvd

    embedder: Embedder | None = open_embedder(given)
    if isinstance(embedder, EndpointEmbedder):
        talk("the embedding server was not asked: pairs are counted as tfidf finds them")
        embedder = None
    vectors = (embedder or TfidfSvd()).embed(data.texts)
    return candidates(data, vectors, given["propose"], priors=settings.priors)[0]


def show_run(
    found: Found,
    table: DataFrame,
    evaluation: Evaluation | None,
    given: Options,
) -> None:
    """The table of labels to a file if one is named; scores or labels to stdout."""
    output, keep = given["output"], given["keep_formulas"]
    if output:
        print_labels(table, output, as_json=False, keep_formulas=keep)
    if given["as_json"]:
        from consilience.data.export import plain_rows

        report = {
            "run": found.run.id,
            "result": found.solution.result.value,
            "orientation": found.polarity,
            "probabilities": found.probabilities,
            "calls": found.asked.calls,
            "absent": found.evidence.absent,
            "unanswered": dict(found.unanswered),
            "verdict": {
                "kind": found.verdict.kind.value,
                "information": found.verdict.information,
                "decided": found.verdict.decided,
                "reasons": list(found.verdict.reasons),
            },
            "concepts": concept_rows(found),
            "questions": question_rows(found),
            "labels": plain_rows(table),
            "evaluation": None if evaluation is None else evaluation.table.to_dict("records"),
        }
        click.echo(dump(report))
    elif evaluation is not None:
        click.echo(str(evaluation))
    elif not output:
        print_labels(table, None, as_json=False, keep_formulas=keep)


def asked_baselines(
    data: Dataset,
    gold: Gold,
    model: Model,
    store: Store,
    settings: Settings,
    seed: int,
    concurrency: int,
    bar: ProgressBar,
) -> list[Baseline]:
    """The baselines that ask the model, each through the same store."""
    from consilience.evaluation import baselines

    bench = baselines.BaselineContext(
        data,
        model,
        store=store,
        settings=settings,
        seed=seed,
        concurrency=concurrency,
        progress=bar,
    )
    found = []
    for name, baseline in (
        ("zero-shot", baselines.zero_shot),
        ("random-label shots", baselines.random_shots),
        ("bootstrap", baselines.bootstrap),
        ("golden shots", lambda bench: baselines.golden_shots(bench, gold)),
    ):
        bar.begin(name)
        found.append(baseline(bench))
    return found


def show_prompt(data: Dataset, model: Model, settings: Settings) -> None:
    """One whole prompt, as it will be sent: what is asked can be read before it is paid for."""
    from consilience.prompts.framing import render

    query = settings.zero_shot(data)[0]
    framing = next(f for f in settings.framings_for(data) if f.name == query.framing)
    example = data.examples[data.index[query.target]]
    prompt = render(framing, example.text, style=model.style)
    if not isinstance(prompt, str):
        prompt = "\n".join(f"{turn['role']}: {turn['content']}" for turn in prompt)
    names = ", ".join(
        f"{c!r} is {n!r}" for c, n in zip(data.task.classes, framing.label_names, strict=True)
    )
    if data.note:
        talk(data.note)
    talk(
        f"── a prompt ({framing.name}; class {names}); later ones show labelled examples first\n"
        f"{prompt}\n──"
    )


def show_estimate(
    data: Dataset,
    model: Model,
    settings: Settings,
    store: Store,
    given: Options,
    compared: Dataset | None = None,
) -> None:
    """What the run would take, as a table or as JSON, the pairs that are `compared` included."""
    from consilience.elicitation.cost import estimate

    cost = estimate(data, model, settings, store, seed=given["seed"], price=given["price"])
    first: dict[str, Any] = {}
    if compared is not None:
        from consilience.elicitation.proposals import settings_for

        asked = estimate(compared, model, settings_for(compared), store, price=given["price"])
        cost, first = cost + asked, {"calls_for_pairs": asked.calls}
    told = {**cost.to_json(), **first}
    named = [("examples", len(data)), *((k.replace("_", " "), v) for k, v in told.items())]
    pairs(told.items() if given["as_json"] else named, given["as_json"])


def warn_of_hashes(data: Dataset, model: str) -> None:
    """Says so where a simulated model labels texts that it did not make up."""
    from consilience.models.simulated import WORLDS

    if model.startswith("simulated:") and data.name not in WORLDS:
        talk("a simulated model answers real texts by a hash: these labels mean nothing")


def summary(found: Found, seconds: float, price: float | None) -> str:
    """What a run came to, in a few lines."""
    run, asked = found.run, found.asked
    money = "" if price is None else f", {asked.prompt_tokens * price / 1e6:.2f} for them"
    lines = [
        f"run {run.id}: {len(found.dataset)} examples, {run.rounds} rounds, {asked.calls:,} calls "
        f"made ({asked.prompt_tokens:,} prompt tokens{money}), {asked.known:,} answers found in "
        f"the store, {seconds:.0f} s",
        result(found),
        *what_to_vouch_for(found),
    ]
    # A remainder too small for another round is not a saving.
    if found.saved >= len(found.dataset):
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
