"""`solve`, `explain` and `export`: what a store says, without asking anything."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from consilience.cli import options
from consilience.cli.config import Config
from consilience.cli.inputs import (
    check_apart,
    check_device,
    check_store,
    check_table,
    open_solver,
    open_terms,
)
from consilience.cli.meant_run import meant_run
from consilience.cli.output import csv, dump, rows, talk
from consilience.cli.values import Number
from consilience.data.counted import counted
from consilience.errors import InputError

if TYPE_CHECKING:
    from pandas import DataFrame

    from consilience.data.dataset import Dataset
    from consilience.results.landmarks import Landmarks
    from consilience.results.result import Found
    from consilience.solvers.fixed_point import Solver

ROWS = 5
"""So many rows without an answer are named in the talk; JSON has them all."""

_BEGINNING = 4
"""So many digits of an example's own id are needed where not all of them are given."""

SHORT = 100
"""How many characters of a text stand in a line of talk."""


def opened(
    store: str,
    run_id: str | None,
    solver: Solver | None = None,
    *,
    config: Config | None = None,
    task: Config | None = None,
) -> Found:
    """A run of a store, solved; by a `config` with its device, landmarks, shares and weights.

    Where `run_id` names several, separated by commas, they are solved together; where it names
    none, it is the `meant_run` of the task file that `config` or `task` was read from.
    """
    from consilience.elicitation.session import solve_run
    from consilience.elicitation.settings import settings_from
    from consilience.results.joint import together
    from consilience.store.database import Store

    check_store(store)
    device, shares = (config.solving.device, config.planning.shares) if config else (None, None)
    weights = config.solving.weights if config else {}
    with Store(store, readonly=True) as db:
        named = (run_id or "").split(",")
        runs = [db.run(id.strip()) if id else meant_run(db, config or task) for id in named]
        vouched = open_landmarks(config, db.dataset(runs[0].dataset)) if config else None
        found = together(
            [
                solve_run(
                    db, run.id, db.dataset(run.dataset), settings_from(run.settings, shares),
                    open_terms(run.settings, weights), solver, device=device,
                )
                for run in runs
            ]
        )  # fmt: skip
    if config is None or vouched is None:
        return found
    return found.calibrated(vouched, config.landmarks.calibration)


def open_landmarks(config: Config, dataset: Dataset, *, enough: bool = True) -> Landmarks | None:
    """The landmarks in a file, `enough` of them to calibrate; None without a file."""
    path, calibration = config.landmarks.file, config.landmarks.calibration
    if path is None:
        if calibration != "auto":
            raise InputError(
                "landmarks.calibration is done by landmarks; name their file with --landmarks"
            )
        return None
    from consilience.results.calibration import check_enough
    from consilience.results.landmarks import Landmarks

    landmarks = Landmarks.of(Path(path), dataset, config.data.text)
    if enough:
        check_enough(landmarks, calibration)
    return landmarks


def result(found: Found) -> str:
    """What the labels rest on and how the solve ended, in a few lines."""
    evidence, solution, out = found.evidence, found.solution, found.evidence.tally
    bounded = float(evidence.predictions.bounded.double().mean())
    lines = [
        f"predictions: {evidence.t} count, {out.absent} absent, {out.silent} without any label, "
        f"{bounded:.1%} with a label that is only bounded; mean label mass {out.mean_mass:.2g}",
        f"{solution.result.value} Coherence {solution.stats.coherence:.3f} nats per example; "
        f"distinct optima: {len(solution.optima)}.",
        f"Orientation: {found.polarity}.",
        f"Probabilities are {found.probabilities}.",
        f"Shares of the classes: {found.shares}.",
        *_concepts(found),
        f"Verdict: {found.verdict}.",
        *([f"Relations: {said}."] if (said := found.facts.sentence) else []),
        *_without_answer(found),
    ]
    if evidence.f and (opinion := found.shot_free_check) is not None:
        lines.append(
            f"Second opinion, from zero-shot answers and {evidence.f} contrasts alone: agrees on "
            f"{opinion.agreement:.0%} of the labels."
        )
        if opinion.dissents:
            lines.append(
                "That is little: the shots may have carried another concept than the one meant. "
                "Ask more contrasts, or begin again with another --seed, and compare."
            )
    if evidence.tally.mean_mass < 0.5:
        lines.append(
            "Little probability falls on the label names: the model is not answering the "
            "question. Try other framings, or the chat endpoint."
        )
    return "\n".join(lines)


def unanswered_rows(found: Found) -> dict[str, str]:
    """Why rows have no answer, by the user's own ids: of rows with one text the first."""
    return {found.dataset.own_id(id): why for id, why in found.unanswered.items()}


def _without_answer(found: Found) -> list[str]:
    """The rows without an answer, the first few by id with the reason; nothing without any."""
    without = unanswered_rows(found)
    if not without:
        return []
    shown = [f"  {id}  {reason}" for id, reason in list(without.items())[:ROWS]]
    more = [f"  and {len(without) - ROWS:,} more"] if len(without) > ROWS else []
    rows = "row has" if len(without) == 1 else "rows have"
    return [f"{len(without):,} {rows} no answer and so no label:", *shown, *more]


def concept_rows(found: Found) -> list[dict[str, Any]]:
    """The concepts in the order of their rank, numbered from 1, and what speaks for each."""
    from consilience.data.arrays import saying

    return [
        {
            "number": rank,
            "examples": int(saying(concept.labels).sum()),
            "support": concept.support,
            "lead": concept.lead,
            "error": concept.error,
            "confidence": concept.confidence,
        }
        for rank, concept in enumerate(found.concepts, start=1)
    ]


def question_rows(found: Found) -> list[dict[str, str]]:
    """The examples whose labels would best tell the concepts apart, id and text."""
    data = found.dataset
    examples = {id: data.examples[data.index[data.find(id) or id]] for id in found.questions()}
    return [{"id": id, "text": example.text} for id, example in examples.items()]


def _concepts(found: Found) -> list[str]:
    """How many concepts the census found, and what speaks for each, in a line; none without it."""
    if not found.concepts:
        return []
    from consilience.data.arrays import saying

    # After a runoff those that were close have labels for more than the sample.
    sample = min(int(saying(concept.labels).sum()) for concept in found.concepts)
    vouched = found.run.settings.get("landmarks")
    chosen = f"; chosen by {len(vouched)} landmarks" if vouched else ""
    count = len(found.concepts)
    said = ", ".join(f"{concept.support:.3f}" for concept in found.concepts)
    return [
        f"Concepts: {count} found on {sample:,} examples, supported by {said} nats per "
        f"example{', the first is that of the labels' if count > 1 else ''}{chosen}."
    ]


def what_to_vouch_for(found: Found) -> list[str]:
    """What to do where the first of several concepts is not the one meant, in a few lines.

    Nothing where landmarks chose it.
    """
    from consilience.concepts.description import shortened
    from consilience.results.landmarks import label_column

    asked = question_rows(found)
    own = found.dataset.origin.id_name if found.dataset.origin else "id"
    if not asked or found.run.settings.get("landmarks"):
        return []
    return [
        f"If the first is not the one meant: vouch for these rows (columns {own} and "
        f"{label_column(found.dataset)}) and "
        "run again with --landmarks FILE --set landmarks.calibration=none:",
        *(f"  {row['id']}  {shortened(row['text'], SHORT)}" for row in asked),
    ]


def label_table(found: Found, decided_only: bool = False, details: bool = False) -> DataFrame:
    """The user's table with labels; without rows that are open, and so many said, if wanted."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        table = found.table(details=details, decided_only=decided_only)
    for warning in said:
        talk(str(warning.message))
    for name in ("label", "probability", "uncertainty", "open"):
        # What was found stands after the user's own columns.
        alike = [str(c) for c in table.columns if re.fullmatch(f"(consilience_)*{name}", str(c))]
        if alike[-1] != name:
            talk(f"the table has a column {name!r} of its own; what was found is in {alike[-1]!r}")
    if decided_only:
        origin = found.dataset.origin
        of = len(found.dataset) if origin is None else len(origin.ids)
        talk(f"{of - len(table)} of {of} labels are open and left out")
    return table


def print_labels(
    table: DataFrame, output: str | None, as_json: bool, keep_formulas: bool = False
) -> None:
    """The table of labels to a file, or to stdout as CSV or JSON."""
    from consilience.data.export import plain_rows, write_table

    if output:
        write_table(table, output, keep_formulas=keep_formulas)
        talk(f"{counted(len(table), 'row')} written to {output}")
    elif as_json:
        click.echo(dump(plain_rows(table)))
    else:
        csv(table, keep_formulas=keep_formulas)


@options.command()
@options.configured(
    *("output.store", "output.table", "landmarks.file", "solving", "data"),
    also=options.SHARES,
)
@options.run_id
@options.details
@options.as_json
def solve(config: Config, run_id: str | None, details: bool, as_json: bool) -> None:
    """The labels of a run from its store, asking nothing.

    No model and no network: the same store gives the same labels, bit for bit. A task file (.toml)
    stands for its store. Labels go to stdout as CSV, or to --output. How frequent a class is,
    where you know; another weight of a term: --set planning.shares.spam=0.1, --set
    solving.weights.entropy=0.8.
    """
    said = config.output
    check_table(said.table)
    check_device(config.solving.device)
    made = open_solver(config.solving.solver, config.solving.starts)
    found = opened(said.store or options.STORE, run_id, made, config=config)
    check_apart(said.table, config, found.dataset)
    lines = [f"run {found.run.id}: {counted(found.run.rounds, 'round')}", result(found)]
    talk("\n".join([*lines, *what_to_vouch_for(found)]))
    table = label_table(found, said.decided_only, details or said.details)
    print_labels(table, said.table, as_json, said.keep_formulas)


@options.command()
@click.argument("example")
@options.store_read
@options.run_id
@options.as_json
def explain(example: str, store: options.NamedStore, run_id: str | None, as_json: bool) -> None:
    """What pulls the label of one example, and how hard.

    One row for each prediction and relation that speaks of EXAMPLE: the id of a row (its number,
    where the file has no ids), or the beginning of an example's own id.
    """
    found = opened(store.path, run_id, task=store.task)
    data = found.dataset
    own = data.find(example)
    # Fewer digits are rather the number of a row, mistyped, than the beginning of a hash.
    begun = data.ids if len(example) >= _BEGINNING else ()
    ids = [own] if own else [id for id in begun if id.startswith(example)]
    if len(ids) != 1:
        how = f"the own ids of {len(ids)} examples begin so" if ids else "no example's own id does"
        short = f"a beginning of an example's own id has {_BEGINNING} digits or more"
        raise InputError(
            f"no row of run {found.run.id} has the id {example!r}, and {how if begun else short}; "
            "`solve` lists all rows"
        )
    i = found.dataset.index[ids[0]]
    row = found.labels.iloc[i]
    said = f"{row['name']}, probability {row['probability']:.3f}, {found.probabilities}"
    if found.hard_labels[i] != found.soft_labels[i].argmax():
        said += "; another is likelier, but facts do not allow it"
    if row.isna()["name"]:
        said = f"no label: {found.unanswered.get(ids[0], 'nothing speaks of it')}"
    talk(f"{example if own else data.own_id(ids[0])}: {data.texts[i]}\n→ {said}")
    pulls = found.explain(ids[0])
    rows([dict(zip(pulls.columns, row, strict=True)) for row in pulls.to_numpy()], as_json)


@options.command()
@click.argument("output")
@options.configured("output.store", "landmarks.file", "data", also=options.SHARES)
@options.run_id
@options.option(
    "--decided-only",
    is_flag=True,
    section="Labels",
    help="Leave out the examples whose two likeliest classes are close (column open).",
)
@options.details
@options.option(
    "--format",
    "form",
    type=click.Choice(["table", "sft", "dpo", "reward", "chat"]),
    default="table",
    show_default=True,
    section="Labels",
    help="The table, or JSON lines to train on: prompts with completions, preferences, pairs for a "
    "reward model (all for TRL), or chats (for OpenAI's fine-tuning).",
)
@options.option(
    "--min-probability",
    type=Number(min=0, max=1),
    default=0.0,
    show_default=True,
    section="Labels",
    help="Train on rows alone whose label is at least so probable.",
)
def export(
    output: str,
    config: Config,
    run_id: str | None,
    decided_only: bool,
    details: bool,
    form: str,
    min_probability: float,
) -> None:
    """Writes the table of labels, or a file to train on.

    OUTPUT ends in .csv, .jsonl, .parquet or .xlsx. The columns are those of the file, which is
    read again, then label, probability, uncertainty and open. With --format it ends in .jsonl, and
    has a row for each text. A task file (.toml) stands for its store.
    """
    said = config.output
    check_table(output)
    decided_only = decided_only or said.decided_only
    if form != "table" and Path(output).suffix.lower() != ".jsonl":
        raise InputError(f"--format {form} writes JSON lines; let {output} end in .jsonl")
    if form != "table" and details:
        raise InputError(f"--details is for the table; leave it out, or --format {form}")
    if form == "table" and min_probability:
        raise InputError("--min-probability is for --format sft, dpo, reward or chat")
    found = opened(said.store or options.STORE, run_id, config=config)
    check_apart(output, config, found.dataset)
    if form == "table":
        table = label_table(found, decided_only, details or said.details)
        print_labels(table, output, as_json=False, keep_formulas=said.keep_formulas)
        return
    from consilience.data.training import training_records, write_training
    from consilience.results.training_rows import rows_to_train_on

    kept = [
        row
        for row in rows_to_train_on(found)
        if not decided_only or not found.labels["open"][found.dataset.index[row.example]]
    ]
    records = training_records(kept, form, min_probability)
    write_training(records, output)
    talk(f"{len(records)} records of {len(kept)} labelled texts written to {output}")
