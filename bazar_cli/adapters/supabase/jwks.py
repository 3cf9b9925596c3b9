"""The public keys of a target's Auth service, kept on disk so that a read needs no HTTP library."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from bazar_cli.adapters import ownership
from bazar_cli.adapters.files import private_folder, write_private
from bazar_cli.domain.errors import BackendUnavailable, BazarError, KeyRefused
from bazar_cli.domain.texts import from_json
from bazar_cli.domain.users.identities import OutcomeUnknown

if TYPE_CHECKING:
    from bazar_cli.domain.target import Target

FRESH_SECONDS = 600
"""The max-age that Supabase sends with its key set (Supabase Auth v2.196)."""
STALE_SECONDS = 86_400
"""How long old keys are used while Auth does not answer. Only for reads: writes ask Auth anyway."""
_log = logging.getLogger(__name__)

Key = Mapping[str, Any]


class KeySet:
    """Finds a key by its id in the cache, else at Auth."""

    def __init__(self, target: Target, data_dir: Path | None, clock: Callable[[], float] = time.time) -> None:
        self._target = target
        self._clock = clock
        name = hashlib.sha256(target.supabase_url.encode()).hexdigest()[:16]
        self._path = data_dir / "cache" / f"jwks-{name}.json" if data_dir is not None else None
        """None for a user without a home folder, who has no cache."""
        self._asked: tuple[list[Key], float] | None = None
        """The keys and their age, once Auth was asked."""

    def find(self, kid: str) -> Key | None:
        """Return the key `kid`, None when Auth does not have it. Asks Auth once at most.

        Raises: BackendUnavailable `supabase.unavailable`, KeyRefused, without a usable key in the cache.
        """
        keys, age = self._asked or self._cached()
        key = _by_id(keys, kid)
        if self._asked is not None or (key is not None and 0 <= age < FRESH_SECONDS):
            return key
        self._asked = keys, age
        try:
            keys = self._fetch()
        except (BackendUnavailable, KeyRefused):
            if key is not None and age < STALE_SECONDS:
                return key
            raise
        self._asked = keys, 0.0
        self._store(keys)
        return _by_id(keys, kid)

    def _cached(self) -> tuple[list[Key], float]:
        """Return the cached keys and their age in seconds; no keys if others can write the file, or it is damaged."""
        if self._path is None:
            return [], STALE_SECONDS
        try:
            cache = ownership.read(self._path)
            if cache.doubt is not None:
                return [], STALE_SECONDS
            content = from_json(cache.data)
            if content["url"] != self._target.supabase_url:
                return [], STALE_SECONDS
            return _keys(content), self._clock() - float(content["fetched_at"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return [], STALE_SECONDS

    def _fetch(self) -> list[Key]:
        from bazar_cli.adapters.supabase.answers import translated
        from bazar_cli.adapters.supabase.http import auth_url, open_http, public_key

        url, headers = f"{auth_url(self._target)}/.well-known/jwks.json", {"apikey": public_key(self._target)}
        with translated(self._target, "its key set"), open_http(self._target) as http:
            try:
                return _keys(http.get(url, headers=headers).json())
            except OutcomeUnknown as unknown:
                if unknown.status != HTTPStatus.NOT_FOUND:
                    raise
                return []

    def _store(self, keys: list[Key]) -> None:
        if self._path is None:
            return
        content = {"url": self._target.supabase_url, "fetched_at": self._clock(), "keys": keys}
        try:
            private_folder(self._path.parent)
            write_private(self._path, json.dumps(content))
        except (OSError, BazarError) as error:
            # The next command will ask Auth again.
            _log.info("the key set cannot be cached in %s: %s", self._path, error)


def _keys(key_set: Any) -> list[Key]:
    """Return the keys of a JSON Web Key Set. Raises: KeyError, TypeError for another shape."""
    return [cast("Key", key) for key in key_set["keys"] if isinstance(key, dict)]


def _by_id(keys: list[Key], kid: str) -> Key | None:
    return next((key for key in keys if key.get("kid") == kid), None)
