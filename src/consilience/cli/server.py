"""`probe`: what an endpoint can do for this package."""

from __future__ import annotations

from typing import Any

import click

from consilience.cli import options
from consilience.cli.inputs import patience
from consilience.cli.output import pairs


@click.command()
@click.argument("base_url")
@click.option(
    "--model", metavar="NAME", help="The model's name on the server, or openai:NAME; the only one."
)
@options.api
@options.extra_body
@options.header
@options.patience
@options.as_json
def probe(base_url: str, model: str | None, api: Any, as_json: bool, **given: Any) -> None:
    """What a server can do, found by a dozen small requests.

    BASE_URL is the address of an OpenAI-compatible server, usually ending in /v1. Looks for
    log-probabilities, the longest list of them, prefill, tokens, a prefix cache. `run` does the
    same by itself and keeps the result in the store.
    """
    from consilience.models.capabilities import capability_rows
    from consilience.models.event_loop import run
    from consilience.models.listing import only_model
    from consilience.models.probe import probe as look

    name = model or run(only_model(base_url, patience=patience(given), headers=given["headers"]))
    found = run(
        look(
            base_url,
            name.removeprefix("openai:"),
            api=api,
            extra_body=given["extra_body"],
            patience=patience(given),
            requests_per_minute=given["rate"],
            headers=given["headers"],
        )
    )
    pairs(found.to_json().items() if as_json else capability_rows(found), as_json)
