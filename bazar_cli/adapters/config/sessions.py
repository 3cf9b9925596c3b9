"""Stored sessions: one per profile or, without a profile, per URL of Auth or of the API."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from bazar_cli.adapters.config.secret_store import SESSION, SecretStore
from bazar_cli.adapters.files import exclusive_lock
from bazar_cli.domain.errors import NotSignedIn
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Session
from bazar_cli.domain.texts import from_json, nonempty_text

if TYPE_CHECKING:
    from bazar_cli.domain.target import RemoteTarget, Target


LOCK_SECONDS = 30.0
"""Longer than any refresh takes: a process that holds the lock longer hangs, or was stopped."""


class Sessions:
    """The stored session of one profile or URL; it counts for one URL only."""

    def __init__(self, name: str, url: str, environ: Mapping[str, str]) -> None:
        self._store = SecretStore(environ)
        self._name = f"{SESSION}{name}"
        self._auth = url.rstrip("/").removesuffix("/auth/v1")

    @classmethod
    def of(cls, target: Target | RemoteTarget, environ: Mapping[str, str]) -> Sessions:
        """Return the stored session of a target."""
        return cls(target.session_name, target.signs_in_at, environ)

    @property
    def where(self) -> Path | str:
        """Where the session is kept: a path, or `keyring`."""
        return self._store.where(self._name)

    def load(self) -> Session | None:
        """Return the stored session; None without one, or when it belongs to another Auth service or API.

        Raises: NotSignedIn `auth.session_unreadable` for a file that is damaged or that others can read.
        """
        text = self._store.get(self._name)
        if text is None:
            return None
        try:
            content = from_json(text)
            if content["auth"] != self._auth:
                return None
            ends = datetime.fromisoformat(content["expires_at"])
            if ends.tzinfo is None:
                raise ValueError("a time without a zone")
            return Session(
                user_id=UUID(content["user_id"]),
                email=nonempty_text(content["email"]),
                access_token=Secret(nonempty_text(content["access_token"])),
                refresh_token=Secret(nonempty_text(content["refresh_token"])),
                expires_at=ends,
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            # Without the cause, whose text may hold a token.
            raise NotSignedIn(
                "auth.session_unreadable",
                f"the stored session in {self.where} is damaged",
                hint="sign in again: `bazar auth login`",
            ) from None

    def save(self, session: Session) -> None:
        """Store a session in place of the previous one. Raises: as `SecretStore.set`."""
        content = {
            "auth": self._auth,
            "user_id": str(session.user_id),
            "email": session.email,
            "access_token": session.access_token.reveal(),
            "refresh_token": session.refresh_token.reveal(),
            "expires_at": session.expires_at.isoformat(),
        }
        self._store.set(self._name, json.dumps(content))

    def forget(self) -> None:
        """Delete the session, if there is one."""
        self._store.delete(self._name)

    @contextmanager
    def lock(self) -> Generator[None]:
        """Hold this session's lock: if two processes refreshed at once, one would lose the session.

        Where no session can be stored, there is no lock.
        Raises: BackendUnavailable `files.locked`; StoreUnusable `files.*`.
        """
        if not self._store.can_keep:
            yield
            return
        with exclusive_lock(self._store.lock_path(self._name), seconds=LOCK_SECONDS):
            yield
