"""Writes docs/cli.md from the commands themselves: uv run python docs/make_cli.py."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from consilience.cli import cli
from consilience.cli.config import SETTINGS, TABLES, Setting
from consilience.cli.options import Command

PAGE = Path(__file__).with_name("cli.md")
WIDTH = 100
SHARED = 4
"""An option that so many commands explain in the same words stands once on the page."""

INTRO = """\
# The command line

This page is written by `docs/make_cli.py`; the text of each command is what its `--help` prints,
but that options which many commands have stand once, under [shared options](#shared-options).

`consilience` and `python -m consilience` are the same. A first session: `consilience demo`,
`consilience probe URL --model NAME`, `consilience init tickets.csv`, which writes `tickets.toml`,
`consilience run tickets.toml --dry-run`, `consilience run tickets.toml`.

**The task file** says in TOML what is labelled, what is asked, by whom and for how much; `init`
writes one with comments. A word that ends in `.toml` is a task file in every command that takes
data or a store. Every value in it is checked, and paths in it are seen from its own folder. What
the command line says wins over the environment, that over `--set KEY=VALUE`, that over the task
file, and that over what is usual. [All settings](#all-settings) are at the end of this page.

**The environment.** Every option has a variable: `run --base-url` is `CONSILIENCE_RUN_BASE_URL`,
`datasets show --examples` is `CONSILIENCE_DATASETS_SHOW_EXAMPLES`; words of a repeatable option
stand there with spaces between them.

**Completion** of commands and options in a shell: bash
`eval "$(_CONSILIENCE_COMPLETE=bash_source consilience)"`, zsh
`eval "$(_CONSILIENCE_COMPLETE=zsh_source consilience)"`, fish
`_CONSILIENCE_COMPLETE=fish_source consilience | source`, each in the file that the shell reads when
it starts.

**Where things go.** Data goes to stdout, and stdout has nothing else, so it can be piped; talk,
progress and errors go to stderr. With `--json`, whatever prints a table prints one JSON value
instead, in which a number that is not there is null. Options are called the same in every command.

**Exit codes.** 0: done; queries that failed are absent and counted. 1: failed (the server, the
store); what was answered before is stored. 2: misuse (an option, a file, a name), found before
any query is asked. An error is one line on stderr that says what was attempted, what came back and
what to do; a traceback is a bug, please report it.

**The key** of an API is read from the environment and from nowhere else: `CONSILIENCE_API_KEY`,
else the variable that belongs to the host that is called ([which](servers.md#ways-to-a-server)).
It is never printed or stored, and no key is sent to another host. `OPENAI_BASE_URL` stands in for
`--base-url`, `CONSILIENCE_HEADERS` for `model.headers`, `CONSILIENCE_DATA_DIR` for `data.folder`.

**Logs.** `consilience --log-level info run …` says on stderr what is sent again and why, what is
given up, and each round; `--log-file FILE` adds it to a file. No key is in it. Variables of a file
`.env`: `uv run --env-file .env consilience run …`.

**Stop and resume.** Each answer is stored as it comes. Stop a run with Ctrl-C (once: what is under
way is kept; twice: at once), or let the machine die, and give the same command again: what the
store holds is not asked twice, and the labels come out as if nothing had happened. Answers of a
server are kept in `consilience.db` in the current folder, or in the file that `--store` names;
those of a simulated model, which cost nothing, in memory unless a `--store` is named.
`model.concurrency`, `model.timeout`, `model.retries`, `model.rate`, the budget of calls, tokens and
money, the price and what is printed or written may change between two attempts; the other settings
decide what is asked, and so make it another run.

**Money.** `run` and `--dry-run` show a whole prompt and the spend first: calls, how many of them
the store knows, tokens of prompts, how many of them a cache can serve, tokens of answers, and with
`--set budget.price=INPUT,CACHED,OUTPUT` (money per million tokens) what that costs.
`--set budget.max_cost=MONEY`, as `budget.max_calls` and `budget.max_tokens`, stops the run before
more is spent, and what was answered is used. A budget is for one command: the same one again goes
on, and may spend as much once more.

**When a server fails.** A passing fault is sent again `model.retries` times with growing pauses, or
after the pause that the server asks for. What else it does then: [reliability](reliability.md).

**Debugging.** `datasets show` prints the prompts before anything is sent, `store show` a prediction
with its prompt and raw response; the rest is in [when a run looks wrong](debugging.md).
"""

USES = {
    "consilience demo": "The first thing to try. Every method gets the same number of calls, so "
    "that the table compares methods and not budgets: `consilience demo --world distractor`.",
    "consilience init": "The beginning with your own table: `consilience init tickets.csv`, "
    "then fill in question, classes and model in `tickets.toml`.",
    "consilience run": "The usual way: `consilience run tickets.toml`; first with `--dry-run`, "
    "which shows a prompt and says what it would take. Without a task file: `consilience run "
    "claims.csv --text claim --question QUESTION --classes no,yes --model openai:NAME --base-url "
    "http://localhost:8000/v1 --output labels.csv`.",
    "consilience probe": "Before the first run on a server: "
    "`consilience probe http://localhost:8000/v1` says whether it gives "
    "log-probabilities, and how it is asked best.",
    "consilience plan": "The first of three steps that are `run` taken apart, for looking at the "
    "queries of a round, or changing the machine between them: `plan DATA … --output round.jsonl`, "
    "`ask round.jsonl …`, and so on until `plan` says that nothing is left; then `solve`. With "
    "`--batch round.jsonl` for a Batch API or vLLM's `run-batch`: [batches](batches.md).",
    "consilience ask": "The second step: `consilience ask round.jsonl --model openai:NAME "
    "--base-url URL`. The queries are checked against the plan that the store holds. On several "
    "servers, `--engine ray`: [batches and Ray](batches.md).",
    "consilience solve": "The labels again, of any run of a store, at any time: "
    "`consilience solve --store claims.db --output labels.parquet`.",
    "consilience evaluate": "With gold that was not there, or not shown, when the run was made: "
    "`consilience evaluate claims.csv --text claim --label truth --store claims.db`.",
    "consilience report": "To look at a run, or to show it to somebody: `consilience report "
    "--store claims.db --output claims.html`, with `claims.csv --text claim --label truth` "
    "where there is gold. What is on it: [look at a run](report.md).",
    "consilience explain": "For a label that surprises: `consilience explain 3f2a --store "
    "claims.db`.",
    "consilience concepts": "Where the verdict is `several concepts`, or the labels are not those "
    "that were meant: `consilience concepts --store claims.db`, then vouch for the examples that "
    "it names and `run` again with `--landmarks FILE --set landmarks.calibration=none`.",
    "consilience describe": "To learn what was labelled, and which of several labellings is "
    "the one meant: `consilience describe --store claims.db --model openai:NAME --base-url URL "
    "--optimum all`, or `--concept all`; first with `--dry-run`. A description is worth what it "
    "reproduces.",
    "consilience evidence": "For the whole run what `explain` is for one label: a summary of the "
    "five kinds of evidence, with `--kind flips` every piece of one, with `--graph` the factor "
    "graph.",
    "consilience review": "To correct labels: `consilience review --store claims.db --output "
    "doubtful.csv`, fill in the column `correction`, then `consilience review --store claims.db "
    "--corrections doubtful.csv --output labels.csv`, which asks nothing.",
    "consilience landmarks": "For rows to label that say how good the labels are: `consilience "
    "landmarks --store claims.db --count 20 --output marks.csv`.",
    "consilience estimate": "For a share or an accuracy with an interval: `consilience estimate "
    "--store claims.db --landmarks marks.csv`.",
    "consilience predict": "For rows that come later: `consilience predict more.csv --store "
    "claims.db --model openai:NAME --base-url URL --output new.csv`; with `--extend` the file is "
    "the whole table, grown.",
    "consilience export": "A table, `consilience export labels.parquet --store claims.db`, or a "
    "file to train on: `consilience export train.jsonl --store claims.db --format sft "
    "--min-probability 0.8`.",
    "consilience rerun": "To see whether a run still comes out as it did, with a newer version, "
    "or of a server that may have changed: `consilience rerun 3f2a --store claims.db`.",
    "consilience weights": "For a run whose weights are in doubt: `consilience weights --store "
    "claims.db`, then `--sweep entropy=0.5,1,2`; `solve --set solving.weights.entropy=0.8` "
    "takes what it finds. What it measures is in [theory.md](theory.md).",
    "consilience bench": "To see which way of finding labels is best where, with a model of your "
    "own: `consilience bench --data truthfulqa --model openai:NAME --base-url URL --budgets 2,4,8 "
    "--output results.json`, first with `--dry-run`; then `consilience bench --table "
    "results.json`. With several `--workers` each puts `model.concurrency` requests to the "
    "server at once. What the measures are is in [scores.md](benchmarks/scores.md).",
    "consilience legacy": "For a run that another program made and logged, see "
    "[legacy.md](legacy.md): `consilience legacy predictions.jsonl --output labels.csv`.",
    "consilience store": "The file of predictions; its tables are described in "
    "[store.md](store.md).",
    "consilience store stats": "What is in it, and what it took.",
    "consilience store runs": "The ids that `--run` takes.",
    "consilience store sources": "Where a run has said that another model or build answers: which "
    "answers came from which.",
    "consilience store verify": "Before relying on a file that was copied or is old.",
    "consilience store repair": "Where a store is damaged: what can be read goes to a new one.",
    "consilience store gc": "Where a store has grown: what some runs need goes to a new one.",
    "consilience store show": "For looking at one answer in full; the keys are in the tables "
    "`plan` and `predictions`.",
    "consilience store export": "A copy in plain text, for an archive or to merge stores: "
    "`consilience store export claims.db claims.jsonl`.",
    "consilience store import": "The way back, with every line verified: "
    "`consilience store import all.db claims.jsonl`.",
    "consilience store ingest": "What a Batch API or vLLM's `run-batch` answered to "
    "`plan --batch`: `consilience store ingest output.jsonl --store tickets.db`; see "
    "[batches](batches.md).",
    "consilience datasets": "The data sets that have a name, and any file.",
    "consilience datasets list": "The names that `run` takes for DATA.",
    "consilience datasets show": "To check text, framings and label names before anything is "
    'spent: `consilience datasets show claims.csv --text "{question} {claim}"`.',
    "consilience datasets audit": "Before believing an accuracy: what structure, surface, order "
    "and hidden columns alone would reach, on a data set that has a name or on a file with gold: "
    "`consilience datasets audit claims.csv --text claim --label truth --set data.group=question`.",
}
"""When to use each command, in a paragraph."""


def commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    """Every command below `command` with the words that call it, groups before their own."""
    if isinstance(command, click.Group):
        for name, sub in command.commands.items():
            yield f"{path} {name}", sub
            yield from commands(sub, f"{path} {name}")


def context_of(command: click.Command, path: str) -> click.Context:
    """A terminal of the fixed width."""
    names = {"help_option_names": ["-h", "--help"]}
    return click.Context(command, info_name=path, terminal_width=WIDTH, **names)


def help_of(command: click.Command, path: str) -> str:
    """What `--help` prints on that terminal."""
    return f"```\n{command.get_help(context_of(command, path))}\n```\n"


def explained(command: click.Command) -> dict[tuple[str, str], click.Parameter]:
    """The options of a command by what its help says of each."""
    context = context_of(command, "")
    told = {option.get_help_record(context): option for option in command.params}
    return {words: option for words, option in told.items() if words is not None}


def shared_options(found: Mapping[str, click.Command]) -> dict[tuple[str, str], click.Parameter]:
    """The options that many commands explain alike, by these words; each name once."""
    leaves = [c for c in found.values() if not isinstance(c, click.Group)]
    times = Counter(words for c in leaves for words in explained(c)).most_common()
    often: dict[str, tuple[str, str]] = {}
    for words, count in times:
        if count >= SHARED:
            often.setdefault(words[0], words)
    every = {words: option for c in leaves for words, option in explained(c).items()}
    return {words: every[words] for words in often.values()}


def section_of(
    command: click.Command, path: str, shared: Mapping[tuple[str, str], click.Parameter]
) -> str:
    """A command's help without the options in `shared`, which are named below it."""
    mine = explained(command)
    also = [f"`{option.opts[0]}`" for words, option in mine.items() if words in shared]
    own = copy.copy(command)
    own.params = [p for p in command.params if p not in [mine.get(words) for words in shared]]
    own.add_help_option = False  # every command has it
    more = f"\n[Shared](#shared-options): {', '.join(also)}.\n" if also else ""
    return help_of(own, path) + more


def shared_section(shared: Mapping[tuple[str, str], click.Parameter]) -> str:
    """The options that commands share, under the headings that they have there."""
    command = Command(None, params=list(shared.values()), add_help_option=False)
    context = context_of(command, "")
    formatter = context.make_formatter()
    command.format_options(context, formatter)
    return f"## Shared options\n\n```\n{formatter.getvalue().strip()}\n```\n"


def settings() -> str:
    """Every setting of a task file, with its option where it has one."""
    parts = [
        "## All settings\n\nA task file has them as keys of its tables; `--set` as TABLE.KEY=VALUE "
        "(`--set planning.shots=8`, `--set planning.shares.a=0.1`, `--set model.headers.x-id=7`)."
        " `seed` stands above the first table.\n"
    ]
    for table, options in TABLES.items():
        parts.append(f"### `[{table}]`\n\n{options.__doc__.splitlines()[0]}\n")
        rows = [f"| `{s.key}` | {_cell(s)} |" for s in SETTINGS.values() if s.table == table]
        parts.append("\n".join(["| key | |", "| --- | --- |", *rows]) + "\n")
    return "\n".join(parts)


def _cell(setting: Setting) -> str:
    also = f" (`{setting.option}`)" if setting.option else ""
    return " ".join(setting.help.split()).replace("|", "\\|") + also


def page() -> str:
    """The whole page."""
    found = dict(commands(cli, "consilience"))
    if missing := found.keys() ^ USES.keys():
        raise SystemExit(f"docs/make_cli.py: USES and the commands differ: {sorted(missing)}")
    shared = shared_options(found)
    parts = [INTRO, help_of(cli, "consilience"), shared_section(shared)]
    for path, command in found.items():
        level = "#" * (1 + path.count(" "))
        parts.append(f"{level} `{path}`\n\n{USES[path]}\n\n{section_of(command, path, shared)}")
    parts.append(settings())
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
