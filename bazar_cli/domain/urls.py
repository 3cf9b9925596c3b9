"""URLs of a target: parsed in one way for checking and for showing them without secrets."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address

from bazar_cli.domain.surplus import surplus
from bazar_cli.domain.texts import whole_number

HIDDEN = "***"
_DRIVER = re.compile(r"postgres(?:ql)?(\+[a-z0-9_]{1,20})://", re.IGNORECASE)
_HOST = r"(?:\[[0-9A-Za-z:.%]*\]|[^/?#@,:\[\]\s]*)(?::[0-9]*)?"
# Special characters of a password must be percent-encoded. Otherwise programs read the URL in different ways, and a
# part of the password could be shown as a host or a path.
_URL = re.compile(
    r"(?P<scheme>[a-z]+)://"
    r"(?:(?P<user>[^:/?#@\s]*)(?::(?P<password>[^/?#@\s]*))?@)?"
    rf"(?P<hosts>{_HOST}(?:,{_HOST})*)"
    r"(?P<path>/[^?#@\s]*)?"
    r"(?:\?(?P<query>[^#@\s]*))?"
)
_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_LONGEST_HOST = 253
_LARGEST_PORT = 65535


@dataclass(frozen=True)
class Url:
    """The parts of a URL, not decoded; None for a missing part."""

    scheme: str
    user: str | None
    password: str | None
    hosts: str
    """One host with its port, or several separated by commas."""
    path: str
    query: str | None

    @property
    def is_web(self) -> bool:
        """Whether user and query must be hidden: Supabase takes neither, so they are keys for a proxy."""
        return self.scheme in {"http", "https"}

    @property
    def pairs(self) -> list[str]:
        """The parameters of the query."""
        return [] if self.query is None else self.query.split("&")

    @property
    def host(self) -> str:
        """The host without port and brackets, if there is only one."""
        if self.hosts.startswith("["):
            return self.hosts[1:].partition("]")[0]
        return self.hosts.partition(":")[0]


def taken_apart(url: str) -> Url | None:
    """Return the parts of a URL; None if it is not a URL, or could be read in two ways."""
    found = _URL.fullmatch(url)
    if found is None or not url.isprintable():
        return None
    parts = found.groupdict()
    return Url(parts["scheme"], parts["user"], parts["password"], parts["hosts"], parts["path"] or "", parts["query"])


def without_secrets(url: str) -> str:
    """Return a URL without its secrets; one that cannot be parsed is hidden completely."""
    parts = taken_apart(url)
    if parts is None:
        return url and HIDDEN
    user = parts.user and (HIDDEN if parts.is_web else parts.user)
    account = "" if user is None else user + (f":{HIDDEN}" if parts.password is not None else "") + "@"
    shown = [HIDDEN if parts.is_web else f"{p.partition('=')[0]}={HIDDEN}" if _is_secret(p) else p for p in parts.pairs]
    query = "" if parts.query is None else f"?{'&'.join(shown)}"
    return f"{parts.scheme}://{account}{parts.hosts}{parts.path}{query}"


def secrets_of(url: str) -> list[str]:
    """Return the texts of a URL that must not be shown, not decoded."""
    parts = taken_apart(url)
    if parts is None:
        head = re.sub(r"\A(?:[a-z]+:(?=//)|postgres(?:ql)?:)?(?://)?", "", url.rpartition("@")[0])
        return [url, head.partition(":")[2], *re.split("[?#]", url)[1:]]
    if parts.is_web:
        return [parts.user or "", parts.password or "", *parts.pairs, *(p.partition("=")[2] for p in parts.pairs)]
    return [parts.password or "", *(p.partition("=")[2] for p in parts.pairs if _is_secret(p))]


def broken_rule(url: str, form: str) -> str:
    """Return the rule that an unreadable URL breaks, without quoting the URL.

    Parameters: `form` shows the correct form.
    """
    scheme = form.partition("://")[0]
    if found := surplus("URL", url):
        return found.what
    if driver := _DRIVER.match(url):
        return f"its scheme names a driver ({driver[1]}), which bazar does not use"
    if not url.startswith(f"{scheme}://"):
        return f"it must look like {form}"
    if any(c.isspace() or not c.isprintable() for c in url):
        return "it must hold no space, no line break and no control character"
    authority = url.partition("://")[2].partition("@")[0]
    if "#" in url or url.count("@") > 1 or ("@" in url and any(c in authority for c in "/?")):
        return "special characters of user and password must be percent-encoded: # is %23, / is %2F, ? is %3F, @ is %40"
    return f"its host or port cannot be read; it must look like {form}"


def bad_host(host: str) -> str:
    """Return why a host is not a host name or an address; "" for a valid one."""
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        pass
    else:
        return ""
    if not host.isascii():
        return "its host must be ASCII: write an international name in its form xn--"
    if len(host) > _LONGEST_HOST or not all(map(_LABEL.fullmatch, host.removesuffix(".").split("."))):
        return (
            f"its host {host[:80]!r} is not a valid host name: its parts between dots have letters, digits and hyphens,"
            f" at most 63 each, {_LONGEST_HOST} in all"
        )
    return ""


def bad_port(port: str) -> str:
    """Return why a port is not valid; "" for a valid one, and for an empty one."""
    if port and not 0 < (whole_number(port) or 0) <= _LARGEST_PORT:
        return f"its port is not one of 1 to {_LARGEST_PORT}"
    return ""


def _is_secret(pair: str) -> bool:
    """Say whether a parameter of libpq is a secret, such as a password in the query."""
    return any(word in pair.partition("=")[0].lower() for word in ("password", "secret", "token"))
