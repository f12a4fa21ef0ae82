"""A fixture server of which some requests get an odd answer, and the others an ordinary one."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from wire_model import PseudoModel
from wire_run import running
from wire_server import DIALECTS, WireServer

Said = Response | None
Reply = Callable[[Request, dict[str, Any], str], Said | Awaitable[Said]]
"""From the request, its body and the prompt (or "") an answer, or None for the ordinary one."""


@dataclass
class OddServer(WireServer):
    """A server whose `reply` is asked first."""

    reply: Reply = lambda request, body, text: None

    def app(self) -> Starlette:
        """The usual addresses, and that of embeddings, which has odd answers alone."""
        made = super().app()
        made.routes.append(Route("/v1/embeddings", self._handle, methods=["POST"]))
        return made

    async def _handle(self, request: Request) -> Response:
        body = json.loads(await request.body() or b"{}")
        asked = request.url.path.endswith("completions")
        odd = self.reply(request, body, self.text(body) if asked else "")
        if isinstance(odd, Awaitable):
            odd = await odd
        if odd is None:
            return await super()._handle(request)
        self.headers.append(dict(request.headers))
        self.requests.append({"path": request.url.path, "body": body, "query": request.url.query})
        return odd


@contextmanager
def serve_odd(
    reply: Reply,
    dialect: str = "openai-legacy",
    *,
    tls: dict[str, Any] | None = None,
    **options: Any,
) -> Iterator[OddServer]:
    """A server in a world that it knows the answers of, for the length of a `with` block."""
    options = {"model": PseudoModel(world=True)} | options
    server = OddServer(DIALECTS[dialect], reply=reply, **options)
    with running(server.app(), **(tls or {})) as address:
        server.url = f"{address}/v1"
        yield server


def said(status: int, content: object, **headers: str) -> Response:
    """An answer of that status with JSON, or with a text as it stands."""
    text = content if isinstance(content, str) else json.dumps(content)
    return Response(text, status, headers, media_type="application/json")
