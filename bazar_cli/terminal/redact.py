"""Removes secrets from every text that leaves the process, except from results."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import cast
from urllib.parse import quote, quote_plus, unquote

from bazar_cli.domain.urls import HIDDEN, secrets_of

_NAMES = ("SUPABASE_KEY", "SUPABASE_ANON_KEY", "SUPERUSER_PASSWORD", "BAZAR_TOKEN", "BAZAR_SEED_PASSWORD", "PGPASSWORD")
_URLS = (
    *("SUPABASE_URL", "DATABASE_URL", "DATABASE_MIGRATION_URL", "BAZAR_API_URL"),
    *("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"),
    *("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
)
_HEADERS = ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS")
_SHAPES = re.compile(r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]+|\bsb_secret_[\w-]{8,}")
"""A JSON Web Token and a service key are hidden wherever they come from, such as an answer or a stored session."""
_IN_URL = re.compile(r"(://[^\s/@:]*:)[^\s/@]+(?=@)")
"""The password of any connection string."""
_SHORTEST = 4
"""A shorter value would hide parts of many words."""
_LONGEST_WORD = 12
"""A secret of letters alone, up to this length, may be a part of our words and codes (`user` of `users.busy`). It is
hidden only as a whole word, which has no letter, digit, `_` or `-` beside it, and no point that leads to another word.
It is always hidden as a value: next to a quote, an equals sign, or the colon or at sign of a URL."""
_OUR_NAMES = frozenset({"bazar", "postgres", "supabase"})
"""Names in many texts, and passwords of many test systems. They are hidden only as values: `***` in place of a name
that everybody knows would tell the password."""


class Redactor:
    """Knows the secrets of one command, and hides them. Parameters: `shared` knows those of the whole process."""

    def __init__(self, environ: Mapping[str, str], shared: Redactor | None = None) -> None:
        self._secrets: set[str] = set()
        self._ordered: tuple[int, list[str]] | None = None
        self._shared = shared
        self.remember_values(environ)

    def remember_values(self, values: Mapping[str, str]) -> None:
        """Hide the secrets among these environment variables."""
        for name in _NAMES:
            self.remember(values.get(name))
        for name in _URLS:
            self._remember_url(values.get(name))
        for pair in ",".join(values.get(name, "") for name in _HEADERS).split(","):
            self.remember(pair.partition("=")[2])
            self.remember(unquote(pair.partition("=")[2]))

    def remember(self, secret: str | None) -> None:
        """Hide this text in all later messages, also in the forms that URLs and JSON give it."""
        if secret is None:
            return
        # A secret with a line break at its end may be quoted without it.
        forms = {secret, secret.strip(), *_encoded(secret.strip())}
        self._secrets |= {form for form in forms if len(form) >= _SHORTEST}

    def remember_secret(self, secret: str) -> None:
        """Hide a secret of any kind: of a URL only the parts that are secret."""
        if "://" in secret:
            self._remember_url(secret)
        else:
            self.remember(secret)

    def hide(self, text: str) -> str:
        """Return `text` with every known secret replaced."""
        for secret in self._longest_first():
            if len(secret) <= _LONGEST_WORD and secret.isascii() and secret.isalpha():
                word = "" if secret in _OUR_NAMES else rf"|(?<![\w-])(?<!\w\.){secret}(?![\w-]|\.\w)"
                text = re.sub(rf"(?<=['\"=:]){secret}\b|\b{secret}(?=['\"@]){word}", HIDDEN, text)
            else:
                text = text.replace(secret, HIDDEN)
        return _IN_URL.sub(rf"\1{HIDDEN}", _SHAPES.sub(HIDDEN, text))

    def hide_in(self, value: object) -> object:
        """Return a JSON value with every known secret replaced, before JSON escapes change its form."""
        if isinstance(value, str):
            return self.hide(value)
        if isinstance(value, Mapping):
            return {str(k): self.hide_in(v) for k, v in cast("Mapping[object, object]", value).items()}
        if isinstance(value, list | tuple):
            return [self.hide_in(v) for v in cast("Sequence[object]", value)]
        return value

    def _known(self) -> set[str]:
        return self._secrets if self._shared is None else self._secrets | self._shared._known()

    def _count(self) -> int:
        return len(self._secrets) + (self._shared._count() if self._shared is not None else 0)

    def _longest_first(self) -> list[str]:
        """Return the known secrets. They only become more, so a count says whether there are new ones."""
        if self._ordered is None or self._ordered[0] != self._count():
            self._ordered = self._count(), sorted(self._known(), key=len, reverse=True)
        return self._ordered[1]

    def _remember_url(self, url: str | None) -> None:
        for password in secrets_of(url) if url else ():
            self.remember(password)
            self.remember(unquote(password))


def _encoded(secret: str) -> set[str]:
    """Return the forms of a secret in a URL and in JSON."""
    in_url = secret.encode(errors="surrogateescape")
    in_json = {json.dumps(secret, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}
    return {quote(in_url), quote(in_url, safe=""), quote_plus(in_url), *in_json}
