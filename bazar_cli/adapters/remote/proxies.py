"""The proxy of the environment, as curl reads it: HTTPS_PROXY or ALL_PROXY, unless NO_PROXY names the host.

Plain http goes to this machine or to a host that BAZAR_ALLOW_PLAINTEXT names, never through a proxy, which would see
the token. TLS goes through a tunnel, so that a proxy sees only the name of the host.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bazar_cli.domain.errors import UsageError

_VARIABLES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")


@dataclass(frozen=True)
class Proxy:
    """An HTTP proxy that opens tunnels, with the header that signs in to it."""

    host: str
    port: int
    headers: Mapping[str, str]


def proxy_for(url: str, environ: Mapping[str, str]) -> Proxy | None:
    """Return the proxy for an https URL; None for a direct connection.

    Raises: UsageError `target.proxy_invalid`, without quoting the variable, which may hold a password.
    """
    name = next((name for name in _VARIABLES if environ.get(name)), None)
    if name is None:
        return None
    from base64 import b64encode
    from urllib.parse import unquote, urlsplit

    if _is_exempt(urlsplit(url).hostname or "", environ.get("no_proxy") or environ.get("NO_PROXY") or ""):
        return None
    value = environ[name]
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise _invalid(name) from None
    if parts.scheme != "http" or not host:
        raise _invalid(name)
    headers: dict[str, str] = {}
    if parts.username is not None:
        account = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Proxy-Authorization"] = f"Basic {b64encode(account.encode()).decode()}"
    return Proxy(host, port or 80, headers)


def _is_exempt(host: str, exempt: str) -> bool:
    """Say whether NO_PROXY names the host, one of its parent domains, or `*` for every host."""
    names = [name.strip().lstrip(".").lower() for name in exempt.split(",")]
    return "*" in names or any(name and (host == name or host.endswith(f".{name}")) for name in names)


def _invalid(name: str) -> UsageError:
    return UsageError(
        "target.proxy_invalid",
        f"{name} cannot be used: it is not the URL of an HTTP proxy",
        hint=f"write {name} as http://HOST:PORT, or name the host of the API in NO_PROXY",
        details={"variable": name},
    )
