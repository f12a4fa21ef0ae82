"""Models that answer queries: over HTTP, in this process, or simulated with a known truth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from consilience.data.plugins import load_plugin, plugin_names
from consilience.errors import InputError, check_kind
from consilience.models.base import Answer, Model, Request
from consilience.models.event_loop import run

if TYPE_CHECKING:
    from consilience.models.capabilities import Capabilities

__all__ = ["Answer", "Model", "Request", "open_model"]

BUILT_IN = ("openai", "decisions", "local", "simulated")
"""What stands before the colon in the name of a model of this package."""

LOCAL = ("api", "device", "dtype", "batch", "reuse", "engine", "vllm")
"""The options of a model in this process; the others belong to a server."""


def open_model(
    name: str,
    *,
    base_url: str | None = None,
    capabilities: Capabilities | None = None,
    **options: Any,  # noqa: ANN401 (handed on to the function that opens it, which checks them)
) -> Model:
    """The model of that name: ``openai:NAME``, ``local:FOLDER_OR_HUB_ID``, ``simulated:WORLD``.

    ``decisions:NAME`` is one behind an endpoint that answers typed questions (`decisions`).

    A server, at `base_url`, is probed first, unless its `capabilities` are given. `options` are
    those of `consilience.models.openai.open_openai` or `consilience.models.local.open_local`.
    Other packages add other kinds (see `plugins`).
    """
    check_kind(name, str, "a model is named by a text, such as 'openai:NAME'")
    kind, _, rest = name.partition(":")
    given = {"base_url": base_url or None, "capabilities": capabilities, **options}
    given = {key: value for key, value in given.items() if value is not None}
    own = {"openai": _openai, "decisions": _decisions, "local": _local, "simulated": _simulated}
    if kind in own and rest:
        return own[kind](rest, given)
    others = plugin_names("models", BUILT_IN)
    if kind in others and rest:
        made: Model = load_plugin("models", kind)(rest, **given)
        return made
    more = "".join(f", {other}:…" for other in others)
    raise InputError(
        f"no model {name!r}; use openai:NAME or decisions:NAME with a base URL, "
        f"local:FOLDER_OR_HUB_ID, or simulated:WORLD{more}"
    )


def _openai(name: str, given: dict[str, Any]) -> Model:
    if "base_url" not in given:
        raise InputError(
            f"'openai:{name}' needs the address of its server (--base-url, ending in /v1)"
        )
    from consilience.models.openai import open_openai

    return run(open_openai(name, **given))


def _decisions(name: str, given: dict[str, Any]) -> Model:
    if "base_url" not in given or "capabilities" in given:
        raise InputError(
            f"'decisions:{name}' needs the address of its server (--base-url, ending in /v1), and "
            "no capabilities of one with log-probabilities"
        )
    from consilience.models.decisions import DecisionsModel

    return DecisionsModel(name, **given)


def _local(name: str, given: dict[str, Any]) -> Model:
    if any(key not in LOCAL for key in given):
        raise InputError(
            f"'local:{name}' is not on a server; leave out the base URL and its options; what it "
            f"takes is: {', '.join(LOCAL)}"
        )
    from consilience.models.local import open_local

    return open_local(name, **given)


def _simulated(name: str, given: dict[str, Any]) -> Model:
    if given:
        raise InputError(
            f"'simulated:{name}' is not on a server; leave out the base URL and its options"
        )
    from consilience.models.simulated import SimulatedModel

    return SimulatedModel(name)
