"""The address of a server, what of it may be shown, and the key that belongs to its host."""

from __future__ import annotations

import html
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

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

_TELLING = re.compile("auth|key|token|secret|cookie|passw|signature|credential", re.IGNORECASE)
"""Names of headers and of parts of a query whose values are secrets, whatever they look like."""

_LIKE_A_KEY = re.compile(r"(?=.*[0-9]).+|\S{16,}", re.DOTALL)
"""Values that are secrets under any name: others are words, which stand in answers too."""


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
        return cls(_at(url.copy_with(fragment=None), _path(url) or "/"))

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
        """The values of its query that are credentials."""
        return credentials(p for p in self.url.params.multi_items() if p[0] not in PUBLIC)

    def at(self, path: str, *, root: bool = False) -> httpx2.URL:
        """The URL of a path under the address, or beside it (`root`: without a closing /v1)."""
        before = _path(self.url)
        return _at(self.url, (before.removesuffix("/v1") if root else before) + path)

    def show(self, path: str, *, root: bool = False) -> str:
        """The URL of a path as it may be printed."""
        url = self.at(path, root=root)
        query = "&".join(
            f"{name}={value if name in PUBLIC else HIDDEN}"
            for name, value in url.params.multi_items()
        )
        bare = str(url.copy_with(query=None)).rstrip("?").rstrip("/")
        return f"{bare}?{query}" if query else bare


def _path(url: httpx2.URL) -> str:
    """The path of a URL as it is sent (%2F is no slash), without slashes at its end."""
    return url.raw_path.partition(b"?")[0].decode("ascii").rstrip("/")


def _at(url: httpx2.URL, path: str) -> httpx2.URL:
    """A URL with another path, written as it is sent."""
    _, mark, query = url.raw_path.partition(b"?")
    return url.copy_with(raw_path=path.encode("ascii") + mark + query)


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


def credentials(named: Iterable[tuple[str, str]]) -> list[str]:
    """The values, and parts of them, that are secrets by their name or look like a key."""
    return [
        part
        for name, value in named
        for part in _parts(value)
        if _TELLING.search(name) or _LIKE_A_KEY.fullmatch(part)
    ]


def _parts(value: str) -> list[str]:
    """A value and what it is made of: a header may hold "Bearer KEY", a cookie name=value."""
    first, *rest = words = re.split(r"[\s;,]+", value)
    if rest and first.isalpha():  # the scheme, which errors name
        words = rest
    return [value, *words, *(word.partition("=")[2] for word in words)]


class _Secret(NamedTuple):
    """A secret, what stands in its place, and the part of it that is written in one way only."""

    text: str
    mark: str
    core: str


@dataclass(frozen=True, slots=True, repr=False)
class Secrets:
    """Strings that must show nowhere, and what stands in their place."""

    known: tuple[_Secret, ...]

    @classmethod
    def of(cls, key: str | None, others: Iterable[str]) -> Secrets:
        """The key, and what else is long enough to be a secret."""
        longest_first = sorted(set(others), key=len, reverse=True)
        found = {**dict.fromkeys(longest_first, HIDDEN), key or "": "[key]"}.items()
        return cls(tuple(_Secret(s, mark, _core(s)) for s, mark in found if len(s) >= SHORTEST))

    def within(self, text: str) -> bool:
        """Whether one of them may be in a text: a quick look at every answer."""
        return any(secret.core in text for secret in self.known)

    def hide(self, text: str) -> str:
        """The text without them, however they are written in a URL, in JSON or in HTML."""
        for secret in self.known:
            if secret.core in text:
                text = _pattern(secret.text).sub(secret.mark, text)
        return text

    def hidden(self, data: Any) -> Any:  # noqa: ANN401 (JSON)
        """JSON data without them; what was JSON stays JSON."""
        if isinstance(data, Mapping):
            return {self.hide(name): self.hidden(value) for name, value in data.items()}
        if isinstance(data, list):
            return [self.hidden(value) for value in data]
        return self.hide(data) if isinstance(data, str) else data


def _core(secret: str) -> str:
    return str(max(re.findall(r"[A-Za-z0-9]*", secret), key=len))


@lru_cache(64)
def _pattern(secret: str) -> re.Pattern[str]:
    """Finds a secret of which some characters are escaped, once or more than once."""
    return re.compile("".join(map(_written, secret)))


def _written(c: str) -> str:
    """The ways in which one character may be written."""
    code = ord(c)
    in_json = rf"\\{{0,8}}{re.escape(c)}|\\{{1,8}}(?i:u{code:04x})"
    in_url = "(?i:" + "".join(rf"%(?:25){{0,8}}{byte:02x}" for byte in c.encode()) + ")"
    in_html = rf"(?i:&#0{{0,4}}{code};|&#x0{{0,4}}{code:x};)|{re.escape(html.escape(c))}"
    plus = r"|\+" if c == " " else ""
    return f"(?:{in_json}|{in_url}|{in_html}{plus})"
