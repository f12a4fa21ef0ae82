"""The HTTP client of one address: proxies, certificates, and what went wrong with either.

A server is spoken to by aiohttp, which costs a fraction of the CPU of httpx2; a proxy, and a
transport that is given, by httpx2. Neither follows a redirect.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Protocol
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx2
from yarl import URL

from consilience.errors import InputError, MissingExtra, ServerError
from consilience.models.address import Address, Secrets
from consilience.models.body import HttpResponse

PROXIES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")
CA = "CONSILIENCE_CA_FILE"

_CONNECT = 10.0
"""Seconds until a connection stands."""

_IDLE = 4.0
"""Seconds after which a connection is not used again: many servers close it after 5."""

_JSON = {"Content-Type": "application/json"}


class HttpClient(Protocol):
    """Sends requests to one address, in one event loop."""

    async def exchange(
        self, method: str, url: httpx2.URL, body: bytes | None, most: int
    ) -> HttpResponse:
        """The response to a request with a body of JSON, or with none.

        Of a body of more than `most` bytes, a few more than those. An exception of httpx2 or an
        OSError where there is no response.
        """

    async def close(self) -> None:
        """Closes the connections."""


def open_client(
    address: Address, headers: Mapping[str, str], transport: httpx2.AsyncBaseTransport | None
) -> HttpClient:
    """A client for one address; it follows no redirect, so a key goes to that host alone.

    Proxies are those of the environment (HTTPS_PROXY, ALL_PROXY, NO_PROXY). Certificates are
    checked against the system's, SSL_CERT_FILE and CONSILIENCE_CA_FILE. InputError, which names the
    variable and hides its password, where one of them cannot be used.
    """
    # Small bodies, whose size is bounded as they are read.
    headers = {"Accept-Encoding": "identity", **headers}
    if transport is None and not _proxied(address):
        return _ByAiohttp(address, headers)
    return _ByHttpx(address, headers, transport)


class _Connector(aiohttp.TCPConnector):
    """Connections on which nothing waits that came unasked.

    aiohttp would take it for the answer to the next request.
    """

    async def _get(self, key: Any, traces: Any) -> Any:  # noqa: ANN401 (aiohttp's own types)
        while (found := await super()._get(key, traces)) is not None:
            if found.protocol is not None and not found.protocol.should_close:
                return found
            found.close()
        return None


class _ByAiohttp:
    """A client of aiohttp, for a server that is spoken to directly."""

    def __init__(self, address: Address, headers: Mapping[str, str]) -> None:
        secure = address.url.scheme == "https"
        named = any(name.lower() == "user-agent" for name in headers)
        self._session = aiohttp.ClientSession(
            connector=_Connector(
                limit=0,
                keepalive_timeout=_IDLE,
                ssl=httpx2.create_ssl_context(_trusted()) if secure else True,
            ),
            headers={**headers} if named else {"User-Agent": "consilience", **headers},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )
        self._url = lru_cache(maxsize=64)(lambda url: URL(str(url), encoded=True))

    async def exchange(
        self, method: str, url: httpx2.URL, body: bytes | None, most: int
    ) -> HttpResponse:
        kind = None if body is None else _JSON
        read = bytearray()
        try:
            async with self._session.request(
                method, self._url(url), data=body, headers=kind, allow_redirects=False
            ) as response:
                async for part in response.content.iter_any():
                    read += part
                    if len(read) > most:
                        response.close()
                        break
                return HttpResponse(response.status, response.headers, bytes(read))
        except aiohttp.ClientError as error:
            if isinstance(error, OSError):
                raise
            raise ConnectionError(str(error)) from error

    async def close(self) -> None:
        await self._session.close()


class _ByHttpx:
    """A client of httpx2, for what stands between here and a server."""

    def __init__(
        self,
        address: Address,
        headers: Mapping[str, str],
        transport: httpx2.AsyncBaseTransport | None,
    ) -> None:
        try:
            self._client = httpx2.AsyncClient(
                headers=headers,
                timeout=httpx2.Timeout(None, connect=_CONNECT),
                limits=httpx2.Limits(max_connections=None, max_keepalive_connections=None),
                transport=transport,
                follow_redirects=False,
                verify=_trusted(),
            )
        except ImportError as error:
            raise MissingExtra(f"the SOCKS proxy in {_named('socks')}", "socks") from error
        except (ValueError, httpx2.InvalidURL) as error:
            raise InputError(
                f"the proxy in {_named('')} cannot be used: say http://, https://, socks5:// or "
                "socks5h:// and HOST:PORT, with special characters of a password written as %XX"
            ) from error

    async def exchange(
        self, method: str, url: httpx2.URL, body: bytes | None, most: int
    ) -> HttpResponse:
        kind = {} if body is None else _JSON
        request = self._client.build_request(method, url, content=body, headers=kind)
        response = await self._client.send(request, stream=True)
        headers = {name.lower(): value for name, value in response.headers.items()}
        if response.is_stream_consumed:  # by a transport that has no stream
            headers.pop("content-encoding", None)
            return HttpResponse(response.status_code, headers, response.content)
        read = bytearray()
        try:
            async for part in response.aiter_raw():
                read += part
                if len(read) > most:
                    break
        finally:
            await response.aclose()
        return HttpResponse(response.status_code, headers, bytes(read))

    async def close(self) -> None:
        await self._client.aclose()


def _proxied(address: Address) -> bool:
    """Whether the environment puts a proxy before an address; none stands before this machine."""
    if address.local:
        return False
    proxies = getproxies()
    host = address.url.netloc.decode("ascii")
    return bool(proxies.get(address.url.scheme) or proxies.get("all")) and not proxy_bypass(host)


def _named(scheme: str) -> str:
    """The variables that hold a proxy (of that scheme), without their values."""
    names = [n for n in PROXIES if os.environ.get(n, "").lower().startswith(scheme or "")]
    set_here = [name for name in names if os.environ.get(name)]
    return ", ".join(dict.fromkeys(set_here)) or "the environment"


def _trusted() -> ssl.SSLContext | bool:
    path = os.environ.get(CA)
    if not path:
        return True
    try:
        context = ssl.create_default_context()
        context.load_verify_locations(cafile=os.path.expanduser(path))
    except (OSError, ssl.SSLError) as error:
        said = getattr(error, "strerror", None) or type(error).__name__
        raise InputError(
            f"{CA} names {path!r}, which is no file of certificates ({said})"
        ) from error
    return context


def what_failed(
    what: str, error: Exception, address: Address, secrets: Secrets
) -> ServerError | InputError:
    """The error for whatever stopped a request on its way, in one line."""
    if isinstance(error, InputError):
        return error
    said = secrets.hide(" ".join(str(error).split())) or type(error).__name__
    # A host may be called like what it is not.
    words = re.sub(rf"(?<!\w){re.escape(address.url.host)}(?!\w)", "", said.lower())
    if "certificate" in words or isinstance(error, ssl.SSLError):
        cure = f"name the authority's certificate in {CA} (or SSL_CERT_FILE), or check the address"
        return ServerError(f"{what}: {said[:300]}; {cure}", fatal=True)
    if isinstance(error, httpx2.ProxyError) or "proxy" in words or "socks" in words:
        cure = f"check the proxy in {_named('')}"
        return ServerError(f"{what}: {said[:300]}; {cure}")
    if isinstance(error, httpx2.UnsupportedProtocol | httpx2.LocalProtocolError):
        cure = "check the base URL and model.headers"
        return ServerError(f"{what}: {said[:300]}; {cure}", fatal=True)
    cure = "check that the server runs and that the base URL is its address"
    if not isinstance(error, httpx2.TransportError | OSError):
        said = f"{type(error).__name__}: {said}"
    return ServerError(f"{what}: {said[:300]}; {cure}")
