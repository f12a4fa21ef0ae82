"""The command line: data on stdout, talk on stderr, the key from the environment only.

Exit codes: 0 done, 1 failed (what was answered is stored: run it again), 2 misuse. A mistake of
the user is one line, never a traceback.
"""

from __future__ import annotations

import gc
import io
import os
import sys

import click
import stamina

from consilience.cli.bench import bench
from consilience.cli.concepts import concepts
from consilience.cli.data import datasets
from consilience.cli.demo import demo
from consilience.cli.describe import describe
from consilience.cli.evaluate import evaluate
from consilience.cli.evidence import evidence
from consilience.cli.init import init
from consilience.cli.legacy import legacy
from consilience.cli.logs import LEVELS, others_in_lines, put_away, set_up
from consilience.cli.output import speak_utf8, talk
from consilience.cli.predict import predict
from consilience.cli.report import report
from consilience.cli.rerun import rerun
from consilience.cli.results import explain, export, solve
from consilience.cli.review import estimate, landmarks, review
from consilience.cli.run import run
from consilience.cli.server import probe
from consilience.cli.steps import ask, plan
from consilience.cli.stores import store
from consilience.cli.values import home
from consilience.cli.weights import weights
from consilience.errors import ConsilienceError, InputError, Interrupted


class _InOrder(click.Group):
    """Commands in the order in which they are used, not by the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names in the order in which the commands were added."""
        return list(self.commands)


@click.group(
    cls=_InOrder,
    context_settings={
        "max_content_width": 100,
        "help_option_names": ["-h", "--help"],
        # run --store is CONSILIENCE_RUN_STORE, and so on.
        "auto_envvar_prefix": "CONSILIENCE",
    },
)
@click.version_option(package_name="consilience")
@click.option(
    "--log-level",
    type=click.Choice(LEVELS),
    help="Log what is sent again, given up and asked, to stderr or --log-file  [default: info, "
    "where there is a file]",
)
@click.option("--log-file", metavar="FILE", callback=home, help="Add the log to this file.")
@click.pass_context
def cli(context: click.Context, log_level: str | None, log_file: str | None) -> None:
    """Finds the labels that a language model already believes, without being given any.

    Start with `consilience demo`, then `consilience probe URL --model NAME` on your own server,
    then `consilience init FILE`, which writes a task file, and `consilience run TASK`. Data goes to
    stdout and talk to stderr; exit codes are 0 done, 1 failed (run the same command again: nothing
    is asked twice), 2 misuse. The API key is read from CONSILIENCE_API_KEY, else from the variable
    that belongs to the host (OPENAI_API_KEY for OpenAI and the host of OPENAI_BASE_URL,
    OPENROUTER_API_KEY, …), and is sent to no other.
    """
    if (handler := set_up(log_level, log_file)) is not None:
        context.call_on_close(lambda: put_away(handler))


for command in (
    *(demo, init, run, probe, plan, ask, solve, evaluate, report, explain),
    *(concepts, describe, review, landmarks, estimate, predict),
    *(evidence, export, rerun, weights, bench, legacy, store, datasets),
):
    cli.add_command(command)


TRACE = "CONSILIENCE_TRACEBACK"
"""Set to anything, an error that nobody foresaw is shown with its traceback."""


def main() -> None:
    """The command `consilience`."""
    # PyTorch and pandas make half a million objects as they load, and none of them is garbage: to
    # look through them again and again took 0.7 of the 6 seconds of a short command.
    gc.set_threshold(100_000, 20, 20)
    for stream in (sys.stdout, sys.stderr):
        # What is piped on Windows is in an old code page, which has no word for most texts.
        if isinstance(stream, io.TextIOWrapper) and stream.encoding.lower() != "utf-8":
            stream.reconfigure(encoding="utf-8")
    # Retries are counted where they end in an error; each one is not worth a line.
    stamina.instrumentation.set_on_retry_hooks([])
    speak_utf8()
    # What is written holds texts and answers, which are nobody else's.
    before = os.umask(0o077)
    try:
        with others_in_lines():
            code = ended()
    finally:
        os.umask(before)
    sys.exit(code)


def ended() -> int:
    """The exit code of the command; every error is one line on stderr."""
    try:
        code = cli.main(prog_name="consilience", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        code = 2
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "consilience"
        talk(f"{path}: {error.format_message()} (see `{path} --help`)")
        code = 2
    except (click.Abort, KeyboardInterrupt, Interrupted):
        talk("consilience: interrupted; what is in a --store is kept, and the same command goes on")
        code = 1
    except InputError as error:
        talk(f"consilience: {error}")
        code = 2
    except ConsilienceError as error:
        talk(f"consilience: {error}")
        code = 1
    except BrokenPipeError:
        # Whoever reads stdout has read enough; nothing more can be said there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    # The outermost place: whatever a library or a user's model raises is one line for the user, and
    # its traceback is one variable away.
    except Exception as error:
        if os.environ.get(TRACE):
            raise
        talk(f"consilience: {unforeseen(error)}")
        code = 1
    return code or 0


def unforeseen(error: Exception) -> str:
    """What to say of an error that is none of the package's own, in one line."""
    said = " ".join(str(error).split())[:300]
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or said or type(error).__name__}"
    if isinstance(error, MemoryError):
        return "there is not enough memory; use --set data.groups=NUMBER, or fewer rows"
    return (
        f"{type(error).__name__}: {said}; nobody foresaw this: what is in a --store is kept; "
        f"set {TRACE}=1 to see where it happened, and please report it"
    )
