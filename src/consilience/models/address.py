"""The address of a server, what of it may be shown, and the key that belongs to its host."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote

import httpx2

from consilience.errors import InputError

LOOPBACK = ("localhost", "127.0.0.1", "::1")

PUBLIC = frozenset({"api-version"})
"""Parts of a query that are no secret; the values of all others are hidden wherever they show."""

HIDDEN = "[hidden]"

OWN_KEYS: Mapping[str, str] = {
    "api.openai.com": "OPENAI_API_KEY",
    "openrouter.ai": "OPENROUTER_API_KEY",
    "api.together.xyz": "TOGETHER_API_KEY",
    "api.groq.com": "GROQ_API_KEY",
    "api.fireworks.ai": "FIREWORKS_API_KEY",
    "api.deepseek.com": "DEEPSEEK_API_KEY",
    "api.mistral.ai": "MISTRAL_API_KEY",
}
"""The variables in which the keys of well-known hosts are kept, each for its host alone."""

SHORTEST = 6
"""A key or value that is shorter is not looked for in texts: it may be any word or number."""


@dataclass(frozen=True, slots=True)
class Address:
    """A base URL, taken apart, so that a path goes before its query."""

    url: httpx2.URL

    @classmethod
    def of(cls, base_url: str) -> Address:
        """The address that a base URL names; InputError, without its secrets, if it is none."""
        try:
            url = httpx2.URL(base_url)
        except (httpx2.InvalidURL, ValueError, TypeError) as error:
            said = str(error).partition(":")[0].lower()
            raise InputError(f"the base URL is not an address ({said}); look at it again") from None
        if url.userinfo:
            raise InputError("the base URL holds a password; set CONSILIENCE_API_KEY instead")
        if url.scheme not in ("http", "https") or not url.host:
            begins = base_url.partition("?")[0]
            raise InputError(
                f"the base URL {begins!r} does not begin with http:// or https:// and a host"
            )
        return cls(url.copy_with(path=url.path.rstrip("/") or "/", fragment=None))

    @property
    def local(self) -> bool:
        """Whether it is on this machine, spoken to in the clear."""
        return self.url.scheme == "http" and self.url.host in LOOPBACK

    @property
    def shown(self) -> str:
        """The address as it may be printed and stored: without the values of its query."""
        return self.show("")

    @property
    def secrets(self) -> list[str]:
        """The values of its query that are nobody's business."""
        return [v for name, v in self.url.params.multi_items() if name not in PUBLIC and v]

    def at(self, path: str, *, root: bool = False) -> httpx2.URL:
        """The URL of a path under the address, or beside it (`root`: without a closing /v1)."""
        before = self.url.path.rstrip("/")
        return self.url.copy_with(path=(before.removesuffix("/v1") if root else before) + path)

    def show(self, path: str, *, root: bool = False) -> str:
        """The URL of a path as it may be printed."""
        url = self.at(path, root=root)
        query = "&".join(
            f"{name}={value if name in PUBLIC else HIDDEN}"
            for name, value in url.params.multi_items()
        )
        bare = str(url.copy_with(query=None)).rstrip("?").rstrip("/")
        return f"{bare}?{query}" if query else bare


KEY = "CONSILIENCE_API_KEY"
"""The variable of the key for the server that the user names."""

EMBED_KEY = "CONSILIENCE_EMBED_API_KEY"
"""The variable of the key for a server of embeddings that is another."""


def key_from_environment(
    url: httpx2.URL, environ: Mapping[str, str] = os.environ, general: str = KEY
) -> str | None:
    """The API key for an address: the `general` one, else the one that belongs to its host.

    OPENAI_API_KEY belongs to api.openai.com, to Azure's OpenAI hosts, and to the host of
    OPENAI_BASE_URL; no key of one host is sent to another.
    """
    names = [general]
    if same_host(environ.get("OPENAI_BASE_URL", ""), url) or url.host.endswith(
        (".openai.azure.com", ".api.openai.com")
    ):
        names.append("OPENAI_API_KEY")
    if url.host in OWN_KEYS and (url.scheme == "https"):
        names.append(OWN_KEYS[url.host])
    for name in names:
        key = environ.get(name, "").strip()
        if not (key.isascii() and key.isprintable()):
            raise InputError(f"{name} holds characters that no key has; set it again")
        if key:
            return key
    return None


def same_host(base_url: str, url: httpx2.URL) -> bool:
    """Whether a base URL, if it is one, names the scheme, host and port of another."""
    if not base_url:
        return False
    try:
        other = httpx2.URL(base_url)
    except (httpx2.InvalidURL, ValueError):
        return False
    return (other.scheme, other.host, other.port) == (url.scheme, url.host, url.port)


def checked_headers(headers: Mapping[str, str] | None) -> dict[str, str]:
    """Headers that HTTP can carry; InputError, without their values, otherwise."""
    made = {}
    for name, value in (headers or {}).items():
        if not name or not all(c.isalnum() or c in "!#$%&'*+-.^_`|~" for c in name):
            raise InputError(f"{name!r} is no name of a header; say NAME=VALUE")
        if not name.isascii():
            raise InputError(f"{name!r} is no name of a header: only ASCII can be sent")
        if not (value.isascii() and value.isprintable()):
            raise InputError(f"the header {name} holds characters that cannot be sent")
        if name.lower() in ("host", "content-length", "transfer-encoding", "content-type"):
            raise InputError(f"the header {name} is set by the connection itself; leave it out")
        made[name] = value.strip()
    return made


@dataclass(frozen=True, slots=True, repr=False)
class Secrets:
    """Strings that must show nowhere, and what stands in their place."""

    key: str | None
    others: tuple[str, ...] = ()

    @classmethod
    def of(cls, key: str | None, others: Iterable[str]) -> Secrets:
        """The key, and what else is long enough to be a secret."""
        long = {o for o in others if len(o) >= SHORTEST}
        # A header may hold "Bearer KEY": the key alone is then a secret too.
        long |= {part for o in long for part in o.split() if len(part) >= SHORTEST}
        hidden = key if key and len(key) >= SHORTEST else None
        return cls(hidden, tuple(sorted(long, key=len, reverse=True)))

    def hide(self, text: str) -> str:
        """The text without them, however they are written in a URL or in JSON."""
        for secret in self.others:
            for form in {secret, quote(secret), quote(secret, safe="")}:
                text = text.replace(form, HIDDEN)
        if self.key:
            text = text.replace(self.key, "[key]")
        if "\\" in text:
            for secret in self.others:
                text = _escaped(secret).sub(HIDDEN, text)
            if self.key:
                text = _escaped(self.key).sub("[key]", text)
        return text


@lru_cache(64)
def _escaped(secret: str) -> re.Pattern[str]:
    """Finds a secret of which JSON escapes some characters, once or JSON within JSON."""
    return re.compile(
        "".join(rf"(?:\\{{0,8}}{re.escape(c)}|\\{{1,8}}(?i:u{ord(c):04x}))" for c in secret)
    )
