"""Secrets out of every text that leaves the process by another way than its result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from bazar_cli.domain.target import Target

_NAMES = ("SUPABASE_KEY", "SUPABASE_ANON_KEY", "SUPERUSER_PASSWORD", "BAZAR_TOKEN", "PGPASSWORD")
_URLS = ("DATABASE_URL", "DATABASE_MIGRATION_URL")
_SHORTEST = 4
"""A shorter value would blank out half of every text; no server accepts it as a secret."""
HIDDEN = "***"


class Redactor:
    """Knows the secrets of one process, and hides them."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._secrets: set[str] = set()
        self.remember_values(environ)

    def remember_values(self, values: Mapping[str, str]) -> None:
        """Hide the secrets among these environment variables."""
        for name in _NAMES:
            self.remember(values.get(name))
        for name in _URLS:
            self._remember_url(values.get(name))

    def remember(self, secret: str | None) -> None:
        """Hide this text from now on."""
        if secret is not None and len(secret) >= _SHORTEST:
            self._secrets.add(secret)

    def remember_target(self, target: Target) -> None:
        """Hide the secrets of a target."""
        for secret in (target.supabase_key, target.anon_key, target.superuser_password):
            self.remember(secret.reveal() if secret else None)
        for url in (target.database_url, target.migration_url):
            self._remember_url(url.reveal() if url else None)

    def hide(self, text: str) -> str:
        """Return `text` with every known secret replaced."""
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, HIDDEN)
        return text

    def hide_in(self, value: object) -> object:
        """Return a JSON value with every known secret replaced, before an encoding changes its looks."""
        if isinstance(value, str):
            return self.hide(value)
        if isinstance(value, Mapping):
            return {str(k): self.hide_in(v) for k, v in cast("Mapping[object, object]", value).items()}
        if isinstance(value, list | tuple):
            return [self.hide_in(v) for v in cast("Sequence[object]", value)]
        return value

    def _remember_url(self, url: str | None) -> None:
        if not url:
            return
        try:
            parts = urlsplit(url)
            named = [p.partition("=")[2] for p in parts.query.split("&") if "password" in p.partition("=")[0].lower()]
            passwords = [parts.password or "", *named]
        except ValueError:
            self.remember(url)
            return
        for password in passwords:
            self.remember(password)
            self.remember(unquote(password))
