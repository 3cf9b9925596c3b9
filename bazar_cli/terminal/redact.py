"""Removes secrets from every text that leaves the process, except from results."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import cast
from urllib.parse import unquote

from bazar_cli.domain.urls import HIDDEN, secrets_of

_NAMES = ("SUPABASE_KEY", "SUPABASE_ANON_KEY", "SUPERUSER_PASSWORD", "BAZAR_TOKEN", "BAZAR_SEED_PASSWORD", "PGPASSWORD")
_URLS = ("SUPABASE_URL", "DATABASE_URL", "DATABASE_MIGRATION_URL")
_SHORTEST = 4
"""A shorter value would hide parts of many words; no server accepts it as a secret."""
_LONGEST_WORD = 12
"""A secret of letters alone, up to this length, may be a word of our texts (`wrong`, `postgres`, `bazar`). It is hidden
only as a value: next to a quote, an equals sign, or the colon or at sign of a URL."""


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
        """Hide this text in all later messages."""
        if secret is None:
            return
        # A secret with a line break at its end may be quoted without it.
        self._secrets.update(form for form in (secret, secret.strip()) if len(form) >= _SHORTEST)

    def hide(self, text: str) -> str:
        """Return `text` with every known secret replaced."""
        for secret in sorted(self._secrets, key=len, reverse=True):
            if len(secret) <= _LONGEST_WORD and secret.isascii() and secret.isalpha():
                text = re.sub(rf"(?<=['\"=:]){secret}\b|\b{secret}(?=['\"@])", HIDDEN, text)
            else:
                text = text.replace(secret, HIDDEN)
        return text

    def hide_in(self, value: object) -> object:
        """Return a JSON value with every known secret replaced, before JSON escapes change its form."""
        if isinstance(value, str):
            return self.hide(value)
        if isinstance(value, Mapping):
            return {str(k): self.hide_in(v) for k, v in cast("Mapping[object, object]", value).items()}
        if isinstance(value, list | tuple):
            return [self.hide_in(v) for v in cast("Sequence[object]", value)]
        return value

    def _remember_url(self, url: str | None) -> None:
        for password in secrets_of(url) if url else ():
            self.remember(password)
            self.remember(unquote(password))
