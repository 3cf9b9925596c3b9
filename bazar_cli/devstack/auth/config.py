"""The service's settings. A setting of GoTrue has the name of GoTrue's variable."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from bazar_cli.devstack.auth.durations import InvalidDuration, seconds_of
from bazar_cli.devstack.auth.keys import role_key
from bazar_cli.domain.errors import UsageError
from bazar_cli.domain.texts import whole_number

_MIN_SECRET = 32
_HOST, _PORT = "127.0.0.1", "9999"
_LAST_PORT = 65_535


@dataclass(frozen=True)
class AuthConfig:
    """One service. Times are in seconds; its repr shows no key."""

    database_url: str = field(repr=False)
    jwt_secret: str = field(repr=False)
    jwt_keys: tuple[dict[str, Any], ...] = field(repr=False)
    """JWKs. The one with key_ops `sign` signs; without JWKs the secret signs (HS256)."""
    external_url: str
    """The service's own address with its prefix, for links."""
    issuer: str
    site_url: str
    """The address to which links redirect after verification."""
    prefix: str
    anon_key: str = field(repr=False)
    service_key: str = field(repr=False)
    publishable_key: str | None = field(repr=False, default=None)
    secret_key: str | None = field(repr=False, default=None)
    jwt_exp: int = 3600
    jwt_aud: str = "authenticated"
    admin_roles: tuple[str, ...] = ("service_role", "supabase_admin")
    refresh_rotation: bool = True
    refresh_reuse_interval: int = 10
    password_min_length: int = 6
    otp_exp: int = 3600
    mail_frequency: float = 1.0
    """The shortest time between two mails of a kind to one address."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> AuthConfig:
        """Read the settings.

        Raises: UsageError `auth_service.config`, which names the variable and its rule.
        """
        read = _Reader(environ)
        secret = read.required("GOTRUE_JWT_SECRET", f"at least {_MIN_SECRET} characters")
        if len(secret) < _MIN_SECRET:
            raise _invalid("GOTRUE_JWT_SECRET", f"has fewer than {_MIN_SECRET} characters")
        external = environ.get("API_EXTERNAL_URL", "http://127.0.0.1").rstrip("/")
        return cls(
            database_url=environ.get("GOTRUE_DB_DATABASE_URL")
            or read.required("DATABASE_URL", "or GOTRUE_DB_DATABASE_URL: a Postgres URL"),
            jwt_secret=secret,
            jwt_keys=_keys(environ.get("GOTRUE_JWT_KEYS", "")),
            external_url=external,
            issuer=environ.get("GOTRUE_JWT_ISSUER", external),
            site_url=environ.get("GOTRUE_SITE_URL", external).rstrip("/"),
            prefix=_prefix(environ.get("BAZAR_AUTH_PREFIX", "/auth/v1")),
            anon_key=environ.get("BAZAR_AUTH_ANON_KEY") or role_key(secret, "anon"),
            service_key=environ.get("BAZAR_AUTH_SERVICE_KEY") or role_key(secret, "service_role"),
            publishable_key=environ.get("BAZAR_AUTH_PUBLISHABLE_KEY"),
            secret_key=environ.get("BAZAR_AUTH_SECRET_KEY"),
            jwt_exp=read.seconds("GOTRUE_JWT_EXP", 3600),
            jwt_aud=environ.get("GOTRUE_JWT_AUD", "authenticated"),
            admin_roles=tuple(environ.get("GOTRUE_JWT_ADMIN_ROLES", "service_role,supabase_admin").split(",")),
            refresh_rotation=read.flag("GOTRUE_SECURITY_REFRESH_TOKEN_ROTATION_ENABLED", default=True),
            refresh_reuse_interval=read.seconds("GOTRUE_SECURITY_REFRESH_TOKEN_REUSE_INTERVAL", 10),
            password_min_length=read.seconds("GOTRUE_PASSWORD_MIN_LENGTH", 6),
            otp_exp=read.seconds("GOTRUE_MAILER_OTP_EXP", 3600),
            mail_frequency=float(read.seconds("GOTRUE_SMTP_MAX_FREQUENCY", 1)),
        )


class _Reader:
    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def required(self, name: str, rule: str) -> str:
        value = self._environ.get(name)
        if not value:
            raise _invalid(name, f"is missing: {rule}")
        return value

    def seconds(self, name: str, default: int) -> int:
        """Return the seconds of a whole number or of a Go duration such as `60s`. GoTrue takes both."""
        value = self._environ.get(name, "")
        if not value:
            return default
        try:
            return int(seconds_of(f"{value}s" if value.isascii() and value.isdigit() else value))
        except InvalidDuration as error:
            raise _invalid(name, f"is {value!r}: {error}") from error

    def flag(self, name: str, *, default: bool) -> bool:
        value = self._environ.get(name, "").lower()
        if value not in {"", "true", "false", "1", "0"}:
            raise _invalid(name, f"is {value!r}: choose one of: true, false")
        return default if not value else value in {"true", "1"}


def listen_address(environ: Mapping[str, str], host: str | None, port: str | None) -> tuple[str, int]:
    """Return the host and port to listen on: from the flags, else from GoTrue's variables in GoTrue's order.

    Raises: UsageError `auth_service.config`.
    """
    found = {"--host": host, **{name: environ.get(name) for name in ("GOTRUE_API_HOST", "API_HOST")}}
    ports = {"--port": port, **{name: environ.get(name) for name in ("GOTRUE_API_PORT", "PORT")}}
    name, value = next(((name, value) for name, value in ports.items() if value), ("", _PORT))
    number = whole_number(value)
    if number is None or number > _LAST_PORT:
        raise _invalid(name, f"is {value[:40]!r}: a port from 0 to {_LAST_PORT}, where 0 chooses a free one")
    return next(filter(None, found.values()), _HOST), number


def _prefix(text: str) -> str:
    prefix = text.rstrip("/")
    if prefix and not prefix.startswith("/"):
        raise _invalid("BAZAR_AUTH_PREFIX, or --prefix,", f"is {text[:40]!r}: it must begin with a slash, or be empty")
    return prefix


def _keys(text: str) -> tuple[dict[str, Any], ...]:
    if not text:
        return ()
    try:
        keys: object = json.loads(text)
    except ValueError as error:
        raise _invalid("GOTRUE_JWT_KEYS", "is not valid JSON") from error
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in cast("list[object]", keys)):
        raise _invalid("GOTRUE_JWT_KEYS", "is not a JSON array of JWKs")
    found = tuple(cast("list[dict[str, Any]]", keys))
    if len([k for k in found if "sign" in k.get("key_ops", [])]) != 1:
        raise _invalid("GOTRUE_JWT_KEYS", "must have exactly one key with key_ops `sign`")
    return found


def _invalid(name: str, rule: str) -> UsageError:
    return UsageError("auth_service.config", f"{name} {rule}", hint="set it in the environment of the Auth service")
