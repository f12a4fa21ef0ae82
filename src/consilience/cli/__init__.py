"""The command line: data on stdout, talk on stderr, the key from the environment only.

Exit codes: 0 done, 1 failed (what was answered is stored: run it again), 2 misuse. A mistake of
the user is one line, never a traceback.
"""

from __future__ import annotations

import io
import sys

import click
import stamina

from consilience.cli.bench import bench
from consilience.cli.concepts import concepts
from consilience.cli.data import datasets
from consilience.cli.demo import demo
from consilience.cli.describe import describe
from consilience.cli.evidence import evidence
from consilience.cli.legacy import legacy
from consilience.cli.results import evaluate, explain, export, solve
from consilience.cli.run import run
from consilience.cli.server import probe
from consilience.cli.steps import ask, plan
from consilience.cli.stores import store
from consilience.cli.weights import weights
from consilience.errors import ConsilienceError, InputError


class _InOrder(click.Group):
    """Commands in the order in which they are used, not by the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names in the order in which the commands were added."""
        return list(self.commands)


@click.group(
    cls=_InOrder, context_settings={"max_content_width": 100, "help_option_names": ["-h", "--help"]}
)
@click.version_option(package_name="consilience")
def cli() -> None:
    """Finds the labels that a language model already believes, without being given any.

    Start with `consilience demo`, then `consilience probe URL --model NAME` on your own server,
    then `consilience run DATA`. Data goes to stdout and talk to stderr; exit codes are 0 done,
    1 failed (run the same command again: nothing is asked twice), 2 misuse. The API key is read
    from CONSILIENCE_API_KEY, else OPENAI_API_KEY, on openrouter.ai else OPENROUTER_API_KEY.
    """


for command in (
    *(demo, run, probe, plan, ask, solve, evaluate, explain, concepts, describe),
    *(evidence, export, weights, bench, legacy, store, datasets),
):
    cli.add_command(command)


def main() -> None:
    """The command `consilience`."""
    for stream in (sys.stdout, sys.stderr):
        # What is piped on Windows is in an old code page, which has no word for most texts.
        if isinstance(stream, io.TextIOWrapper) and stream.encoding.lower() != "utf-8":
            stream.reconfigure(encoding="utf-8")
    # Retries are counted where they end in an error; each one is not worth a line.
    stamina.instrumentation.set_on_retry_hooks([])
    try:
        code = cli.main(prog_name="consilience", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        code = 2
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "consilience"
        click.echo(f"{path}: {error.format_message()} (see `{path} --help`)", err=True)
        code = 2
    except click.Abort:
        click.echo(
            "consilience: interrupted; what is in a --store is kept, and the same command goes on",
            err=True,
        )
        code = 1
    except InputError as error:
        click.echo(f"consilience: {error}", err=True)
        code = 2
    except ConsilienceError as error:
        click.echo(f"consilience: {error}", err=True)
        code = 1
    sys.exit(code or 0)
