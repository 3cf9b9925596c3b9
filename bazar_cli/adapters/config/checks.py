"""The form of a target's values: a wrong one is refused before anything is connected or written, and never quoted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address

from bazar_cli.domain.errors import UsageError
from bazar_cli.domain.route import PREFIX
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.surplus import surplus
from bazar_cli.domain.target import TargetSource
from bazar_cli.domain.urls import bad_host, bad_port, broken_rule, taken_apart

_SUPABASE_FORM = "https://PROJECT.supabase.co"
_API_FORM = "https://bazar.example.com"
_DATABASE_FORM = "postgresql://USER:PASSWORD@HOST:5432/DATABASE"
_LOOPBACK = frozenset({"localhost", ""})
_ENCRYPTED = frozenset({"require", "verify-ca", "verify-full"})
_SSL_MODES = _ENCRYPTED | {"disable", "allow", "prefer"}
_KEY = re.compile(r"[!-~]+")
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_NUL = re.compile("\0|%00")
_PARAMETER = re.compile(r"[a-z_]{1,40}")
_UNFIT = {
    **dict.fromkeys(("service", "servicefile"), "would mix in another source; a target comes whole from one"),
    "replication": "would open a replication connection, which cannot run SQL statements",
}
"""Parameters that libpq knows and a target cannot have, and why."""


def plaintext_hosts(environ: Mapping[str, str]) -> frozenset[str]:
    """Return the hosts that BAZAR_ALLOW_PLAINTEXT names."""
    return frozenset(environ.get("BAZAR_ALLOW_PLAINTEXT", "").replace(",", " ").split())


def checked_key(name: str, key: str, source: TargetSource) -> Secret:
    """Return a key that an HTTP header can carry. Raises: UsageError `target.key_invalid`."""
    _refuse_surplus("target.key_invalid", name, key, source)
    if not _KEY.fullmatch(key):
        raise UsageError(
            "target.key_invalid",
            f"{name} of {source} cannot be used: a key has no spaces, no line breaks and only ASCII characters",
            hint=f"copy {name} again, the whole key and nothing else",
        )
    return Secret(key)


def checked_email(email: str | None, source: TargetSource) -> str | None:
    """Return SUPERUSER_EMAIL, where it is given. Raises: UsageError `users.email_invalid`."""
    name, code = "SUPERUSER_EMAIL", "users.email_invalid"
    _refuse_surplus(code, name, email or "", source)
    if email and len(email.split()) > 1:
        # Not quoted: SUPERUSER_PASSWORD may be on the same line.
        rule = "an address has no spaces"
        raise UsageError(code, f"{name} of {source} cannot be used: {rule}", hint=f"correct {name} there")
    return email


def checked_supabase(url: str, source: TargetSource, allowed: frozenset[str]) -> str:
    """Return the URL without a slash or Auth's path at its end.

    Parameters: `allowed` are the hosts to which plain text is allowed.
    Raises: UsageError `target.url_invalid`, `target.plaintext_refused`.
    """
    return _checked_web("SUPABASE_URL", url, _SUPABASE_FORM, source, allowed).removesuffix("/auth/v1")


def checked_api(url: str, source: TargetSource, allowed: frozenset[str]) -> str:
    """Return BAZAR_API_URL without a slash or the path of the API at its end.

    Parameters, Raises: as `checked_supabase`.
    """
    return api_base(_checked_web("BAZAR_API_URL", url, _API_FORM, source, allowed))


def api_base(url: str) -> str:
    """Return a URL of the API without a slash or the path of the API at its end."""
    return url.rstrip("/").removesuffix(PREFIX)


def _checked_web(name: str, url: str, form: str, source: TargetSource, allowed: frozenset[str]) -> str:
    parts = taken_apart(url)
    _refuse_surplus("target.url_invalid", name, url, source)
    if any(c in url for c in "@?#"):
        raise _invalid(name, source, "it must not hold a user, a password, a query or a fragment")
    if parts is None or parts.scheme not in {"http", "https"} or "," in parts.hosts or not parts.host:
        form = form.replace("https", "http") if url.startswith("http://") else form
        raise _invalid(name, source, broken_rule(url, form))
    rule = bad_host(parts.host) or bad_port(parts.hosts.rpartition("]")[2].partition(":")[2])
    if rule:
        raise _invalid(name, source, rule)
    plain = plaintext_web_host(url)
    if plain and plain not in allowed:
        raise _plaintext(name, plain, "a plain http URL")
    return url.rstrip("/")


def checked_database(name: str, url: str, source: TargetSource, allowed: frozenset[str]) -> Secret:
    """Return a URL that libpq can read and that takes nothing from another source.

    Parameters: `allowed` are the hosts to which plain text is allowed.
    Raises: UsageError `target.url_invalid`, `target.parameter_unknown`, `target.plaintext_refused`.
    """
    if _NUL.search(url):
        raise _invalid(name, source, "it must not hold a NUL character (U+0000, %00), also not in the password")
    _refuse_surplus("target.url_invalid", name, url, source)
    url = url.replace("postgres://", "postgresql://", 1) if url.startswith("postgres://") else url
    parts = taken_apart(url)
    if parts is None or parts.scheme != "postgresql":
        raise _invalid(name, source, broken_rule(url, _DATABASE_FORM), f"write {name} as {_DATABASE_FORM}")
    if _BAD_PERCENT.search(url):
        raise _invalid(name, source, "a % must be followed by two hexadecimal digits; a % itself is written %25")
    read = _as_libpq(name, url, parts.query or "", source)
    hosts = _hosts(read)
    named = [h for h in hosts if h and not h.startswith(("/", "@"))]
    rules = [*map(bad_host, named), *map(bad_port, read.get("port", "").split(","))]
    if read.get("sslmode", "prefer") not in _SSL_MODES:
        rules.append(f"its sslmode must be one of: {', '.join(sorted(_SSL_MODES))}")
    if rule := next(filter(None, rules), ""):
        raise _invalid(name, source, rule)
    for host in _plaintext_to(read):
        if host not in allowed:
            raise _plaintext(name, host, "a database connection without sslmode=require")
    return Secret(url)


def plaintext_database_hosts(url: Secret) -> tuple[str, ...]:
    """Return the hosts, other than this machine, to which a checked URL allows an unencrypted connection."""
    from psycopg.conninfo import conninfo_to_dict

    return _plaintext_to({k: str(v) for k, v in conninfo_to_dict(url.reveal()).items() if v is not None})


def plaintext_web_host(url: str) -> str | None:
    """Return the host of a checked plain http URL; None for https and for this machine."""
    parts = taken_apart(url)
    return parts.host if parts and parts.scheme == "http" and not is_this_machine(parts.host) else None


def is_this_machine(host: str) -> bool:
    """Say whether a host is a loopback address or the folder of a Unix socket."""
    if host in _LOOPBACK or host.startswith(("/", "@")):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _hosts(read: Mapping[str, str]) -> list[str]:
    # Where both are given, libpq connects to hostaddr.
    return (read.get("hostaddr") or read.get("host") or "").split(",")


def _plaintext_to(read: Mapping[str, str]) -> tuple[str, ...]:
    if read.get("sslmode") in _ENCRYPTED:
        return ()
    return tuple(host for host in sorted(set(_hosts(read))) if not is_this_machine(host))


def _as_libpq(name: str, url: str, query: str, source: TargetSource) -> dict[str, str]:
    """Return the parameters that libpq reads from a URL; the last one counts where a parameter is given twice."""
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    known = {option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()} | {"ssl"}
    for parameter in (pair.partition("=")[0] for pair in query.split("&")):
        if parameter in _UNFIT:
            raise _invalid(name, source, f"{parameter}= {_UNFIT[parameter]}", f"remove {parameter}=... from {name}")
        if _PARAMETER.fullmatch(parameter) and parameter not in known:
            raise UsageError(
                "target.parameter_unknown",
                f"{name} of {source} cannot be used: the Postgres client library has no parameter {parameter!r}",
                hint=f"remove {parameter}=... from {name}"
                + ("; bazar works through a pooler without it" if parameter == "pgbouncer" else ""),
                details={"parameter": parameter},
            )
    try:
        read = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        # libpq's own message quotes the text, which may be a password.
        raise _invalid(name, source, "after the ? it must have name=value, separated by &") from None
    return {key: str(value) for key, value in read.items() if value is not None}


def _refuse_surplus(code: str, name: str, value: str, source: TargetSource) -> None:
    if found := surplus(name, value):
        raise UsageError(code, f"{name} of {source} cannot be used: {found.what}", hint=found.remedy)


def _invalid(name: str, source: TargetSource, rule: str, remedy: str = "") -> UsageError:
    remedy = remedy or f"correct {name} there"
    return UsageError("target.url_invalid", f"{name} of {source} cannot be used: {rule}", hint=remedy)


def _plaintext(name: str, host: str, what: str) -> UsageError:
    return UsageError(
        "target.plaintext_refused",
        f"{name} would send secrets to {host} unencrypted: {what}",
        hint=f"use TLS (https, sslmode=require), or allow this host with BAZAR_ALLOW_PLAINTEXT={host}",
        details={"host": host},
    )
