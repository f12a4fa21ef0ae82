"""`probe`: what an endpoint can do for this package."""

from __future__ import annotations

from typing import Any

import click

from consilience.cli import options
from consilience.cli.show import pairs


@click.command()
@click.argument("base_url")
@click.option("--model", "name", required=True, help="The model's name on the server.")
@click.option("--api", type=click.Choice(["auto", "completions", "chat"]), default="auto")
@click.option("--extra-body", callback=options.json_object, help="JSON merged into each request.")
@options.as_json
def probe(base_url: str, name: str, api: Any, extra_body: Any, as_json: bool) -> None:
    """Checks an OpenAI-compatible server: log-probabilities, list length, prefill, tokens, cache.

    Sends about a dozen one-token requests. `run` does the same by itself and keeps the result.
    """
    from consilience.loop import run
    from consilience.models.capabilities import rows
    from consilience.models.probe import probe as look

    found = run(look(base_url, name, api=api, extra_body=extra_body))
    pairs(found.to_json().items() if as_json else rows(found), as_json)
