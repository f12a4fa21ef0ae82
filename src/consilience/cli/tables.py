"""The tables of a task file, one class each; `--set` and options say the same.

A field is a setting: its kind, its option on the command line if it has one, and its help.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from consilience.cli.values import (
    ABOVE_ZERO,
    COUNT,
    Classes,
    FilePath,
    Flag,
    Kind,
    LocalTable,
    Names,
    Number,
    OneOf,
    Prices,
    Table,
    Text,
    Whole,
)

TEXT, SENTENCE, PATH, NAMES = Text(), Text(from_file=True), FilePath(), Names()
SHARE = Number(min=0, max=1, max_open=True)


def setting(
    kind: Kind,
    help: str,
    option: str = "",
    metavar: str | None = None,
    *,
    default: Any = None,
) -> Any:
    """A field that is a setting; `option` is what it is called on the command line, if anything."""
    said = {"kind": kind, "help": help, "option": option, "metavar": metavar}
    if isinstance(default, dict):
        return field(default_factory=dict, metadata=said)
    return field(default=default, metadata=said)


@dataclass(frozen=True, slots=True)
class DataOptions:
    """What is labelled: a file and its columns, or a data set that has a name."""

    file: str | None = setting(
        PATH, "The file, a name from `datasets list`, hub:OWNER/NAME, or - for standard input."
    )
    text: str | None = setting(
        TEXT,
        'A file\'s text column, or a template: "{question} {claim}"  [default: text]',
        "--text",
        "COLUMN",
    )
    id: str | None = setting(
        TEXT,
        "A file's column of ids, all different  [default: the number of the row, from 1]",
        "--id",
        "COLUMN",
    )
    group: str | None = setting(TEXT, "A file's column that says which rows belong together.")
    label: str | None = setting(
        TEXT, "A file's column of gold labels: for scoring only.", "--label", "COLUMN"
    )
    groups: int | None = setting(COUNT, "Use so many groups, chosen by the seed.")
    folder: str | None = setting(
        PATH,
        "Folder of the publishers' files; without it the hub is read  [env var: "
        "CONSILIENCE_DATA_DIR]",
    )
    options: Mapping[str, str] = setting(
        Table(TEXT),
        "Options of a named data set: split=test; `datasets list` has them.",
        default={},
    )


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """What is asked about each row."""

    question: str | None = setting(
        SENTENCE,
        "What is asked about each row of a file; @FILE reads it from a file.",
        "--question",
        "SENTENCE",
    )
    classes: Mapping[str, str] = setting(
        Classes(),
        "A file's class names, class 0 first: no,yes. One that has a comma stands in double "
        "quotes. A task file can describe each.",
        "--classes",
        "NAMES",
        default={},
    )
    instruction: str | None = setting(
        SENTENCE, "What stands before the question in every prompt; @FILE reads it from a file."
    )
    statement: str | None = setting(
        SENTENCE, 'Of two classes: the sentence that is true of class 1, "The claim is right".'
    )
    opposite: str | None = setting(SENTENCE, "The sentence that is true of class 0.")
    framings: tuple[str, ...] | None = setting(
        NAMES,
        "How to ask, of: plain,names,negated,letters,codes,sets  [default: names; where those of "
        "the classes begin alike letters, or codes for more than 26 classes]",
    )


@dataclass(frozen=True, slots=True)
class RelationOptions:
    """What is known of rows that belong together."""

    facts: tuple[str, ...] = setting(
        Names(split=False),
        "Relations that hold for logical reasons. In each group: equal, opposite, at-most-one, "
        "exactly-one, answer:COLUMN (one answer one label, at most one right); across groups: "
        "equal:COLUMN and so on among the rows that share a value, order:LEFT,RIGHT (each row says "
        "left is more than right), implies:KEY,THEN (a row that is of class 1 makes the rows with "
        "its THEN under KEY so).",
        default=(),
    )
    priors: tuple[str, ...] = setting(
        Names(split=False),
        "The same for relations that hold because the file was built so.",
        default=(),
    )
    count_priors: bool = setting(
        Flag(), "Whether design priors count beside logical facts.", default=False
    )
    propose: int = setting(
        Whole(min=0),
        "First ask the model which examples say the same or contradict each other, each with so "
        "many nearest of its group; they become soft relations.",
        default=0,
    )
    embed: str = setting(
        TEXT,
        "What finds the nearest: tfidf, local:FOLDER_OR_HUB_ID or openai:NAME.",
        default="tfidf",
    )
    embed_url: str | None = setting(
        TEXT, "The server of openai: embeddings  [default: that of the model]"
    )


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """Who answers, and how it is asked."""

    name: str | None = setting(
        TEXT,
        "openai:NAME on a server, decisions:NAME on one that answers typed questions, "
        "local:FOLDER_OR_HUB_ID in this process, or simulated:WORLD.",
        "--model",
        "MODEL",
    )
    base_url: str | None = setting(
        TEXT,
        "The server's address, ending in /v1  [env var: OPENAI_BASE_URL]",
        "--base-url",
        "URL",
    )
    api: str = setting(
        OneOf(["auto", "completions", "chat", "decisions", "systemone"]),
        "The endpoint; auto prefers completions, where a model sees plain text. The last two are "
        "those of decisions: models.",
        default="auto",
    )
    top_logprobs: int | None = setting(
        COUNT, "Log-probabilities asked for  [default: 20, or what the server has]"
    )
    extra_body: Mapping[str, Any] | None = setting(
        Table(), 'Merged into each request: {"provider": {"only": ["…"]}}.'
    )
    headers: Mapping[str, str] = setting(
        Table(TEXT),
        "Sent with each request, and shown and stored nowhere: x-api-key=…. CONSILIENCE_HEADERS, a "
        "JSON object, keeps them out of files and command lines.",
        default={},
    )
    timeout: float | None = setting(ABOVE_ZERO, "Seconds that one answer may take  [default: 120]")
    retries: int | None = setting(
        Whole(min=0),
        "How often a request that failed is sent again, after growing pauses  [default: 5]",
    )
    rate: float | None = setting(ABOVE_ZERO, "Requests per minute, at most.")
    concurrency: int = setting(
        COUNT, "Requests under way at once; 1: plain serial, for a debugger.", default=16
    )
    local: Mapping[str, Any] = setting(
        LocalTable(),
        "How a model in this process runs: device=cuda:1, dtype=bfloat16, batch=8, reuse=no.",
        default={},
    )


@dataclass(frozen=True, slots=True)
class BudgetOptions:
    """What one command may spend, and what it costs."""

    calls_per_example: float | None = setting(
        ABOVE_ZERO,
        "Calls for each example, the zero-shot round included  [default: 8]",
        "--calls-per-example",
        "NUMBER",
    )
    price: tuple[float, ...] | None = setting(
        Prices(),
        "Money per million tokens: of prompts, of what a cache serves of them, of answers; what is "
        "left out costs as much as a prompt.",
        metavar="INPUT[,CACHED[,OUTPUT]]",
    )
    currency: str = setting(TEXT, "What the money is called: EUR.", default="")
    max_cost: float | None = setting(
        ABOVE_ZERO,
        "Stop before more money than this is spent on the server; needs a price. What was "
        "answered by then is used.",
    )
    max_calls: int | None = setting(
        COUNT,
        "Requests that may be sent to the server, the probe's and second attempts included.",
    )
    max_tokens: int | None = setting(
        COUNT, "Tokens that the server may charge, prompts and answers together."
    )


@dataclass(frozen=True, slots=True)
class PlanningOptions:
    """How a run goes about it; each is a field of `Settings` or `PlanSettings` in Python."""

    shots: int | None = setting(COUNT, "Examples shown in a prompt  [default: 24]")
    block: int | None = setting(
        COUNT,
        "Targets that share their shots, and with them the server's prefix cache  [default: 40]",
    )
    contrasts: float | None = setting(
        Number(min=0, max=1),
        "Contrasts per ordinary query: each asks a short query twice, one label flipped  "
        "[default: 0]",
    )
    contrast_shots: int | None = setting(COUNT, "Shots in a contrast  [default: 1]")
    settled: float | None = setting(
        SHARE,
        "Stop when a smaller share of all probability moves, twice running; 0: never  "
        "[default: 0.01]",
    )
    census: float | None = setting(
        SHARE,
        "At most this share of the budget, after the zero-shot round, finds the concepts that the "
        "model carries; 0: none  [default: 0.6]",
    )
    first: float | None = setting(
        Number(min=0, min_open=True, max=1),
        "At most this share of the budget is asked zero-shot  [default: 0.25]",
    )
    floor: float | None = setting(
        SHARE, "The least probability that is believed of an absent label."
    )
    bias: str | None = setting(
        OneOf(["contexts", "paired", "none"]),
        "How what a prompt adds to all answers is taken out: the offset of each list of shots, or "
        "only the liking for label names  [default: contexts]",
    )
    anchor: str | None = setting(
        TEXT, "What the sets of the framing `sets` differ in: told to the model."
    )
    shares: Mapping[str, float] | None = setting(
        Table(ABOVE_ZERO), "How frequent a class is, where you know: spam=0.1."
    )


@dataclass(frozen=True, slots=True)
class SolvingOptions:
    """How labels are found from the answers."""

    solver: str = setting(
        OneOf(["lbfgs", "adam", "bp", "annealing", "exhaustive"]),
        "How the labels are looked for; the labels of the last two are hard.",
        default="lbfgs",
    )
    starts: int | None = setting(
        COUNT, "Starting points; the most coherent end wins  [default: the solver's own]"
    )
    weights: Mapping[str, float] = setting(
        Table(Number()), "Other weights for terms of the objective: entropy=0.8.", default={}
    )
    device: str = setting(TEXT, "Where to solve: cpu, cuda, cuda:1, …", default="cpu")


@dataclass(frozen=True, slots=True)
class LandmarkOptions:
    """Examples whose label the user vouches for."""

    file: str | None = setting(
        PATH,
        "Examples whose label you vouch for: a column label, and the ids of the file or its text. "
        "They tell which way round the labels are, and calibrate the probabilities; in `run` and "
        "`plan` they choose among the concepts found, which makes it another run.",
        "--landmarks",
        "FILE",
    )
    calibration: str = setting(
        OneOf(["auto", "temperature", "platt", "none"]),
        "How landmarks scale probabilities; none: only which way round.",
        default="auto",
    )


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """Where answers are kept and labels are written."""

    store: str | None = setting(
        PATH,
        "File of predictions, kept and used again  [default: consilience.db; simulated models: "
        "memory]",
        "--store",
        "FILE",
    )
    table: str | None = setting(
        PATH,
        "Write the labels to this .csv, .jsonl, .parquet or .xlsx file, and not to stdout.",
        "--output",
        "FILE",
    )
    details: bool = setting(
        Flag(),
        "Also write what the uncertainty is made of and the probability of each class.",
        default=False,
    )
    keep_formulas: bool = setting(
        Flag(),
        "Leave cells of CSV as they are that begin like a formula of a spreadsheet; without it an "
        "apostrophe stands before them.",
        default=False,
    )
    decided_only: bool = setting(
        Flag(),
        "Leave out the examples whose two likeliest classes are close (column open).",
        default=False,
    )
    baselines: bool = setting(
        Flag(), "Where there is gold: also ask each baseline, with as many calls.", default=False
    )


@dataclass(frozen=True, slots=True)
class DescribingOptions:
    """How `describe` asks a model for words."""

    orders: int = setting(
        COUNT,
        "How often to ask, with other examples and the groups the other way round.",
        default=4,
    )
    typical: int = setting(COUNT, "Typical examples of each class shown at once.", default=8)
    check: int = setting(
        Whole(min=0),
        "Test each description on so many typical examples that were not shown; 0: none.",
        default=20,
    )
    longest: int = setting(COUNT, "How many tokens a description may be long.", default=60)
