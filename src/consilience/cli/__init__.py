"""The command line: data on stdout, talk on stderr, the key from the environment only.

Exit codes: 0 done, 1 failed (what was asked is stored: run it again), 2 misuse. A mistake of the
user is one line, never a traceback.
"""

from __future__ import annotations

import sys

import click
import stamina

from consilience.cli.data import datasets
from consilience.cli.results import evaluate, explain, export
from consilience.cli.run import demo, run
from consilience.cli.server import probe
from consilience.cli.steps import ask, plan, solve
from consilience.cli.stores import store
from consilience.errors import ConsilienceError, InputError


@click.group(context_settings={"max_content_width": 100, "help_option_names": ["-h", "--help"]})
@click.version_option(package_name="consilience")
def cli() -> None:
    """Finds the labels that a language model already believes, without being given any.

    Start with `consilience demo`, then `consilience probe URL` on your own server, then
    `consilience run DATA`.
    """


for command in (demo, run, probe, plan, ask, solve, evaluate, explain, export, store, datasets):
    cli.add_command(command)


def main() -> None:
    """The command `consilience`."""
    # Retries are counted where they end in an error; each one is not worth a line.
    stamina.instrumentation.set_on_retry_hooks([])
    try:
        code = cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = 2
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted; what was answered is stored, run the same command again", err=True)
        code = 1
    except InputError as error:
        click.echo(f"consilience: {error}", err=True)
        code = 2
    except ConsilienceError as error:
        click.echo(f"consilience: {error}", err=True)
        code = 1
    except BrokenPipeError:
        # The reader of stdout has gone (a pager, `head`): nothing is left to be said.
        sys.stderr.close()
        code = 1
    sys.exit(code or 0)
