"""The options that commands share, so that each is called, checked and explained once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from consilience.cli.values import (
    ABOVE_ZERO,
    COUNT,
    Number,
    Whole,
    headers_of,
    home,
    json_object,
    settings_of_data,
    settings_of_local,
    shares,
    words,
)

F = TypeVar("F", bound=Callable[..., Any])

STORE = "consilience.db"
"""Where answers that were paid for are kept if no other file is named."""


def _together(*options: Callable[[F], F]) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
seed = click.option(
    "--seed",
    type=Whole(min=0),
    default=0,
    show_default=True,
    help="Decides every random choice.",
)
starts = click.option(
    "--starts",
    type=COUNT,
    help="Starting points; the most coherent end wins  [default: the solver's own]",
)
solving = _together(
    click.option(
        "--solver",
        type=click.Choice(["lbfgs", "adam", "bp", "annealing", "exhaustive"]),
        default="lbfgs",
        show_default=True,
        help="How the labels are looked for; the labels of the last two are hard.",
    ),
    starts,
    click.option(
        "--weight",
        "weights",
        metavar="TERM=WEIGHT",
        multiple=True,
        help='Another weight for a term of the objective, "ranking within=0.5" (repeatable).',
    ),
    click.option(
        "--device", default="cpu", show_default=True, help="Where to solve: cpu, cuda, cuda:1, …"
    ),
)
output = click.option(
    "--output",
    metavar="FILE",
    callback=home,
    help="Write the labels to this .csv, .jsonl, .parquet or .xlsx file, and not to stdout.",
)
details = click.option(
    "--details",
    is_flag=True,
    help="Also write what the uncertainty is made of and the probability of each class.",
)
keep_formulas = click.option(
    "--keep-formulas",
    is_flag=True,
    help="Leave cells of CSV as they are that begin like a formula of a spreadsheet; without it "
    "an apostrophe stands before them.",
)
landmarks_file = click.option(
    "--landmarks",
    metavar="FILE",
    callback=home,
    help="Examples whose label you vouch for: a column label, and the ids of the file or its text. "
    "They tell which way round the labels are, and calibrate the probabilities; in `run` and "
    "`plan` they choose among the concepts found, which makes it another run.",
)
landmarks = _together(
    landmarks_file,
    click.option(
        "--calibration",
        type=click.Choice(["auto", "temperature", "platt", "none"]),
        default="auto",
        show_default=True,
        help="How landmarks scale probabilities; none: only which way round.",
    ),
)
typical = click.option(
    "--typical",
    type=COUNT,
    default=8,
    show_default=True,
    help="Typical examples of each class shown at once.",
)
decided_only = click.option(
    "--decided-only",
    is_flag=True,
    help="Leave out the examples whose two likeliest classes are close (column open).",
)
store = click.option(
    "--store",
    metavar="FILE",
    callback=home,
    help=f"File of predictions, kept and used again  [default: {STORE}; simulated models: memory]",
)
store_read = click.option(
    "--store",
    metavar="FILE",
    callback=home,
    default=STORE,
    show_default=True,
    help="File of predictions to read.",
)
run_id = click.option(
    "--run",
    "run_id",
    metavar="ID",
    help="Id of a run in the store, or its beginning; several, A,B, are solved together  "
    "[default: the newest]",
)
framings = click.option(
    "--framings",
    metavar="NAMES",
    callback=words,
    help="How to ask, of: plain,names,negated,letters,sets  [default: names, or letters where the "
    "names of the classes begin alike]",
)
concurrency = click.option(
    "--concurrency",
    type=COUNT,
    default=16,
    show_default=True,
    help="Requests under way at once; 1: plain serial, for a debugger.",
)
propose = click.option(
    "--propose",
    type=Whole(min=0),
    default=0,
    show_default=True,
    metavar="N",
    help="First ask the model which examples say the same or contradict each other, each with its "
    "N nearest of the group; they become soft relations.",
)
budget = _together(
    click.option(
        "--max-calls",
        type=COUNT,
        help="Requests that may be sent to the server, the probe's and second attempts included; "
        "what was answered by then is used.",
    ),
    click.option(
        "--max-tokens",
        type=COUNT,
        help="Tokens that the server may charge, prompts and answers together.",
    ),
)
price = click.option(
    "--price", type=Number(min=0), help="Money per million prompt tokens, to show the cost."
)
dry_run = click.option(
    "--dry-run", is_flag=True, help="Print what it would cost; nothing is sent or stored."
)

described = _together(
    click.option(
        "--data-dir",
        metavar="FOLDER",
        callback=home,
        help="Folder of the publishers' files; without it the hub is read  "
        "[env var: CONSILIENCE_DATA_DIR]",
    ),
    click.option(
        "--set",
        "chosen",
        metavar="KEY=VALUE",
        multiple=True,
        callback=settings_of_data,
        help="An option of a named data set or hub id: value=Truthfulness, split=test "
        "(repeatable); `datasets list` names them.",
    ),
    click.option(
        "--text",
        metavar="COLUMN",
        help='A file\'s text column, or a template: "{question} {claim}"  [default: text]',
    ),
    click.option(
        "--id",
        metavar="COLUMN",
        help="A file's column of ids, all different  [default: the number of the row, from 1]",
    ),
    click.option(
        "--group", metavar="COLUMN", help="A file's column that says which rows belong together."
    ),
    click.option(
        "--label", metavar="COLUMN", help="A file's column of gold labels: for scoring only."
    ),
    click.option(
        "--fact",
        metavar="RELATION",
        multiple=True,
        help="A relation that holds for logical reasons (repeatable). In each group: equal, "
        "opposite, at-most-one, exactly-one, answer:COLUMN (one answer one label, at most one "
        "right); across groups: equal:COLUMN and so on among the rows that share a value, "
        "order:LEFT,RIGHT (each row says left is more than right).",
    ),
    click.option(
        "--prior-relation",
        metavar="RELATION",
        multiple=True,
        help="The same for a relation that holds because the file was built so; counts with "
        "--priors (repeatable).",
    ),
    click.option("--question", metavar="SENTENCE", help="What is asked about each row of a file."),
    click.option(
        "--classes",
        metavar="NAMES",
        callback=words,
        help="A file's class names, class 0 first: no,yes.",
    ),
    click.option(
        "--statement",
        metavar="SENTENCE",
        help='The sentence that is true of class 1: "The claim is right".',
    ),
    click.option("--opposite", metavar="SENTENCE", help="The sentence that is true of class 0."),
)

groups = click.option("--groups", type=COUNT, help="Use so many groups, chosen by the seed.")

api = click.option(
    "--api",
    type=click.Choice(["auto", "completions", "chat"]),
    default="auto",
    show_default=True,
    help="The endpoint; auto prefers completions, where a model sees plain text.",
)
extra_body = click.option(
    "--extra-body",
    metavar="JSON",
    callback=json_object,
    help='JSON merged into each request: {"provider": {"only": ["…"]}}.',
)

header = click.option(
    "--header",
    "headers",
    metavar="NAME=VALUE",
    multiple=True,
    callback=headers_of,
    help="A header sent with each request, and shown and stored nowhere (repeatable): "
    "x-api-key=…. Other programs can see a command line: CONSILIENCE_HEADERS, a JSON object, "
    "hides it.",
)

patience = _together(
    click.option(
        "--timeout", type=ABOVE_ZERO, help="Seconds that one answer may take  [default: 120]"
    ),
    click.option(
        "--retries",
        type=Whole(min=0),
        help="How often a request that failed is sent again, after growing pauses  [default: 5]",
    ),
    click.option("--rate", type=ABOVE_ZERO, help="Requests per minute, at most."),
)

model = _together(
    click.option(
        "--model",
        "model_name",
        metavar="MODEL",
        help="openai:NAME on a server, local:FOLDER_OR_HUB_ID in this process, or simulated:WORLD.",
    ),
    click.option(
        "--base-url",
        metavar="URL",
        help="The server's address, ending in /v1  [env var: OPENAI_BASE_URL]",
    ),
    api,
    click.option(
        "--k", type=COUNT, help="Log-probabilities asked for  [default: 20, or what the server has]"
    ),
    extra_body,
    header,
    patience,
    click.option(
        "--local",
        metavar="KEY=VALUE",
        multiple=True,
        callback=settings_of_local,
        help="How a model in this process runs: device=cuda:1, dtype=bfloat16, batch=8, reuse=no "
        "(repeatable).",
    ),
)

calls_per_example = click.option(
    "--calls-per-example",
    type=ABOVE_ZERO,
    default=8.0,
    show_default=True,
    help="The budget, the zero-shot round included.",
)
planning = _together(
    framings,
    click.option(
        "--anchor",
        metavar="SENTENCE",
        help="What the sets of the framing `sets` differ in: told to the model.",
    ),
    click.option(
        "--shots", type=COUNT, default=24, show_default=True, help="Examples shown in a prompt."
    ),
    click.option(
        "--block",
        type=COUNT,
        default=40,
        show_default=True,
        help="Targets that share their shots, and with them the server's prefix cache.",
    ),
    click.option(
        "--contrasts",
        type=Number(min=0, max=1),
        default=0.0,
        show_default=True,
        help="Contrasts per ordinary query: each asks a short query twice, one label flipped.",
    ),
    click.option(
        "--priors/--no-priors",
        default=False,
        show_default=True,
        help="Whether relations that are design priors count beside logical facts.",
    ),
    click.option(
        "--bias",
        type=click.Choice(["contexts", "paired", "batch-mean", "none"]),
        default="contexts",
        show_default=True,
        help="How what a prompt adds to all answers is taken out: the offset of each list of "
        "shots, or only the liking for label names; batch-mean assumes balanced classes.",
    ),
    click.option(
        "--share",
        metavar="CLASS=SHARE",
        multiple=True,
        callback=shares,
        help="How frequent a class is, where you know: spam=0.1; repeat for others.",
    ),
)
settled = click.option(
    "--settled",
    type=Number(min=0, max=1, max_open=True),
    default=0.01,
    show_default=True,
    help="Stop when a smaller share of all probability moves, twice running; 0: never.",
)
census = click.option(
    "--census",
    metavar="SHARE",
    type=Number(min=0, max=1, max_open=True),
    default=0.6,
    show_default=True,
    help="At most this share of the budget, after the zero-shot round, finds the concepts that "
    "the model carries; 0: none.",
)
embedding = _together(
    click.option(
        "--embed",
        metavar="EMBEDDER",
        default="tfidf",
        show_default=True,
        help="What finds the nearest for --propose: tfidf, local:FOLDER_OR_HUB_ID or openai:NAME.",
    ),
    click.option(
        "--embed-url", metavar="URL", help="The server of openai: embeddings  [default: --base-url]"
    ),
)
settings = _together(calls_per_example, planning, settled, census)
