"""`probe`: what an endpoint can do for this package."""

from __future__ import annotations

import click

from consilience.cli import options
from consilience.cli.config import Config
from consilience.cli.opening import probed, probed_decisions
from consilience.cli.output import pairs


@options.command()
@click.argument("base_url")
@options.option(
    "--model",
    metavar="NAME",
    help="The model's name on the server, openai:NAME or decisions:NAME; the only one.",
)
@options.configured("model")
@options.as_json
def probe(base_url: str, model: str | None, config: Config, as_json: bool) -> None:
    """What a server can do, found by a dozen small requests.

    BASE_URL is the address of an OpenAI-compatible server, usually ending in /v1. Looks for
    log-probabilities, the longest list of them, prefill, tokens, a prefix cache. `run` does the
    same by itself and keeps the result in the store. --set model.api=chat looks at one endpoint.
    Of --model decisions:NAME it says which endpoint there is, and whether shots move its answers.
    """
    if model is not None and model.startswith("decisions:"):
        made = probed_decisions(base_url, model, config.model)
        said = [*made.to_json().items(), ("shots", made.sentence)]
        pairs(made.to_json().items() if as_json else said, as_json)
        return
    from consilience.models.capabilities import capability_rows

    found = probed(base_url, model, config.model)
    pairs(found.to_json().items() if as_json else capability_rows(found), as_json)
