"""The HTTP client of one address: proxies, certificates, and what went wrong with either."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping

import httpx2

from consilience.errors import InputError, MissingExtra, ServerError
from consilience.models.address import Address, Secrets

PROXIES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")
CA = "CONSILIENCE_CA_FILE"


def open_client(
    address: Address, headers: Mapping[str, str], transport: httpx2.AsyncBaseTransport | None
) -> httpx2.AsyncClient:
    """A client for one address; it follows no redirect, so a key goes to that host alone.

    Proxies are those of the environment (HTTPS_PROXY, ALL_PROXY, NO_PROXY). Certificates are
    checked against the system's, SSL_CERT_FILE and CONSILIENCE_CA_FILE. InputError, which names the
    variable and hides its password, where one of them cannot be used.
    """
    try:
        return httpx2.AsyncClient(
            # Small bodies, whose size is bounded as they are read.
            headers={"Accept-Encoding": "identity", **headers},
            timeout=httpx2.Timeout(None, connect=10.0),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=None),
            transport=transport,
            follow_redirects=False,
            # No proxy stands before this machine itself, and there is nothing to verify.
            trust_env=not address.local,
            verify=_trusted(address),
        )
    except ImportError as error:
        raise MissingExtra(f"the SOCKS proxy in {_named('socks')}", "socks") from error
    except (ValueError, httpx2.InvalidURL) as error:
        raise InputError(
            f"the proxy in {_named('')} cannot be used: say http://, https://, socks5:// or "
            "socks5h:// and HOST:PORT, with special characters of a password written as %XX"
        ) from error


def _named(scheme: str) -> str:
    """The variables that hold a proxy (of that scheme), without their values."""
    names = [n for n in PROXIES if os.environ.get(n, "").lower().startswith(scheme or "")]
    set_here = [name for name in names if os.environ.get(name)]
    return ", ".join(dict.fromkeys(set_here)) or "the environment"


def _trusted(address: Address) -> ssl.SSLContext | bool:
    if address.local:
        return False
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
    if "certificate" in said.lower() or isinstance(error, ssl.SSLError):
        cure = f"name the authority's certificate in {CA} (or SSL_CERT_FILE), or check the address"
        return ServerError(f"{what}: {said[:300]}; {cure}", fatal=True)
    if isinstance(error, httpx2.ProxyError) or "proxy" in said.lower() or "socks" in said.lower():
        cure = f"check the proxy in {_named('')}"
        return ServerError(f"{what}: {said[:300]}; {cure}")
    if isinstance(error, httpx2.UnsupportedProtocol | httpx2.LocalProtocolError):
        cure = "check the base URL and model.headers"
        return ServerError(f"{what}: {said[:300]}; {cure}", fatal=True)
    cure = "check that the server runs and that the base URL is its address"
    if not isinstance(error, httpx2.TransportError | OSError):
        said = f"{type(error).__name__}: {said}"
    return ServerError(f"{what}: {said[:300]}; {cure}")
