"""Which model really answered: whether what a server calls by one name stays the same.

A server says in each answer which model it was, and some also of which build. Another name in the
middle of a run, or when it goes on, is another model: its answers would stand among those of the
first as if they were one's. Another build (`system_fingerprint`) is the server's own business as
long as the answers stay; it is told, not refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from consilience.errors import ServerError


class Served(NamedTuple):
    """What an answer says of who gave it; None for what it leaves out."""

    model: str | None
    fingerprint: str | None


def served_by(raw: Any) -> Served:  # noqa: ANN401 (JSON)
    """Who gave a raw answer, which may be several responses under names."""
    if not isinstance(raw, Mapping):
        return Served(None, None)
    if "choices" not in raw and isinstance(raw.get("first"), Mapping):
        raw = raw["first"]
    model, build = raw.get("model"), raw.get("system_fingerprint")
    return Served(
        model if isinstance(model, str) else None, build if isinstance(build, str) else None
    )


class OtherModel(ServerError):
    """An answer of another model than the one that answered before."""


class Watch:
    """Compares each answer with those before it, of this run and of those in the store."""

    def __init__(self, name: str, known: Iterable[Served] = ()) -> None:
        self._name = name
        self._model: str | None = None
        self._builds: set[str] = set()
        for one in known:
            self._model = one.model or self._model
            self._builds |= {one.fingerprint} if one.fingerprint else set()

    def check(self, raw: Any) -> str | None:  # noqa: ANN401 (JSON)
        """What is new about who answers, in a line; None where nothing is.

        OtherModel, fatal, with the answer, where it is another model.
        """
        now = served_by(raw)
        if now.model and self._model and now.model != self._model:
            raise OtherModel(
                f"the server answers for {self._name!r} with the model {now.model!r:.200}, and did "
                f"with {self._model!r:.200} before: these are two models' answers, so nothing more "
                "is asked; name the model that is meant in full, or begin again in another --store",
                body=json.dumps(raw),
                fatal=True,
            )
        self._model = self._model or now.model
        if now.fingerprint is None or now.fingerprint in self._builds:
            return None
        first = not self._builds
        self._builds.add(now.fingerprint)
        if first:
            return None
        return (
            f"the server now answers for {self._name!r} with another build "
            f"({now.fingerprint!r:.200}): its answers may differ from those before, and "
            "`consilience store sources` tells them apart"
        )
