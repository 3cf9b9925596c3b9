"""The public keys of a target's Auth service, kept on disk so that a read needs no HTTP library."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from bazar_cli.adapters import ownership
from bazar_cli.adapters.files import private_folder, write_private
from bazar_cli.domain.errors import BackendUnavailable, BazarError, KeyRefused
from bazar_cli.domain.texts import from_json
from bazar_cli.domain.users.identities import OutcomeUnknown

if TYPE_CHECKING:
    import httpx

    from bazar_cli.domain.target import Target

FRESH_SECONDS = 600
"""The max-age that Supabase sends with its key set (Supabase Auth v2.196)."""
STALE_SECONDS = 86_400
"""How long old keys are used while Auth does not answer. Only for reads: writes ask Auth anyway."""
_log = logging.getLogger(__name__)

Key = Mapping[str, Any]
E = TypeVar("E", bound=BazarError)


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
            keys = _fetch(self._target)
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


class KeptKeySet:
    """The keys of a server process, in memory. Safe to use by several threads.

    Auth is asked at most once in `ASKED_AGAIN_SECONDS`, for all threads together and however many unknown keys are
    asked for. After a failure it is asked again sooner, so that a server recovers when Auth does.
    """

    ASKED_AGAIN_SECONDS = 30.0
    AFTER_FAILURE_SECONDS = 5.0

    def __init__(self, target: Target, http: httpx.Client, clock: Callable[[], float] = time.monotonic) -> None:
        self._target = target
        self._http = http
        self._clock = clock
        self._keys: list[Key] = []
        self._fetched_at = self._asks_at = -float("inf")
        self._failure: BazarError | None = None
        self._asking = threading.Lock()

    def find(self, kid: str) -> Key | None:
        """Return the key `kid`, None when Auth does not have it.

        Raises: BackendUnavailable `supabase.unavailable`, KeyRefused, while there is no usable key.
        """
        key = _by_id(self._keys, kid)
        if key is not None and self._clock() - self._fetched_at < FRESH_SECONDS:
            return key
        # A thread that has a key does not wait for the one that asks.
        if self._asking.acquire(blocking=key is None):
            try:
                if self._clock() >= self._asks_at:
                    self._ask()
            finally:
                self._asking.release()
        key = _by_id(self._keys, kid)
        stale = self._clock() - self._fetched_at >= STALE_SECONDS
        if self._failure is not None and (key is None or stale):
            raise again(self._failure)
        return None if stale else key

    def _ask(self) -> None:
        try:
            self._keys, self._failure = _fetch(self._target, self._http), None
            self._fetched_at = self._clock()
            self._asks_at = self._fetched_at + self.ASKED_AGAIN_SECONDS
        except (BackendUnavailable, KeyRefused) as failure:
            self._failure = failure
            self._asks_at = self._clock() + self.AFTER_FAILURE_SECONDS


def again(error: E) -> E:
    """Return an error that is raised once more, perhaps by several threads: each has its own traceback."""
    return type(error)(error.code, error.message, hint=error.hint, details=error.details)


def _fetch(target: Target, http: httpx.Client | None = None) -> list[Key]:
    from bazar_cli.adapters.supabase.answers import translated
    from bazar_cli.adapters.supabase.http import auth_url, open_http, public_key

    url, headers = f"{auth_url(target)}/.well-known/jwks.json", {"apikey": public_key(target)}
    with translated(target, "its key set"), nullcontext(http) if http else open_http(target) as client:
        try:
            return _keys(client.get(url, headers=headers).json())
        except OutcomeUnknown as unknown:
            if unknown.status != HTTPStatus.NOT_FOUND:
                raise
            return []


def _keys(key_set: Any) -> list[Key]:
    """Return the keys of a JSON Web Key Set. Raises: KeyError, TypeError for another shape."""
    return [cast("Key", key) for key in key_set["keys"] if isinstance(key, dict)]


def _by_id(keys: list[Key], kid: str) -> Key | None:
    return next((key for key in keys if key.get("kid") == kid), None)
