"""The keyring of the system. Its back end is foreign code, which may be missing, refuse, answer wrongly or hang."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from bazar_cli.adapters.files import is_there
from bazar_cli.domain.errors import BackendUnavailable

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

T = TypeVar("T")

SECONDS = 3.0
"""The time limit for a back end, as in gh: one that waits for a dialog on an unseen screen never answers."""
_SERVICE = "bazar"
_VARIABLE = "PYTHON_KEYRING_BACKEND"
_NULL = "keyring.backends.null.Keyring"
_KEEP_NOTHING = frozenset({_NULL, "keyring.backends.fail.Keyring"})
_unanswered: list[threading.Thread] = []
"""Calls that took too long: while one of them hangs, the next would too."""


class SystemKeyring:
    """Named texts in the keyring that the library `keyring` chooses."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._named = environ.get(_VARIABLE)
        self._name = f"the keyring {self._named}" if self._named else "the keyring of this system"

    @classmethod
    def find(cls, environ: Mapping[str, str]) -> SystemKeyring | None:
        """Return the keyring; None if the system has no keyring that stores secrets.

        The library takes 128-250 ms to import, so it is loaded only where a keyring can exist.
        Raises: BackendUnavailable `keyring.unavailable` for a back end that cannot be loaded.
        """
        found = cls(environ)
        possible = (
            sys.platform == "darwin" or _has_bus(environ) if not found._named else found._named not in _KEEP_NOTHING
        )
        return found if possible and found._ask(_keeps) else None

    def get(self, name: str) -> str | None:
        """Return a secret; None where it does not exist. Raises: BackendUnavailable `keyring.unavailable`."""
        found: object = self._ask(lambda backend: backend.get_password(_SERVICE, name))
        if found is None:
            return None
        if isinstance(found, str):
            return str.__str__(found)  # not a subclass, which may define equality in another way
        raise self._unavailable(f"answered with a {type(found).__name__}")

    def set(self, name: str, value: str) -> None:
        """Store a secret. Raises: BackendUnavailable `keyring.unavailable`, also if it was not stored."""
        before = self.get(name)
        self._ask(lambda backend: backend.set_password(_SERVICE, name, value))
        kept = self.get(name)
        if kept == value:
            return
        if kept != before:
            # A wrong value would be read as a damaged session from now on.
            self._ask(lambda backend: backend.delete_password(_SERVICE, name))
        raise self._unavailable("did not store the secret")

    def delete(self, name: str) -> None:
        """Delete a secret, if it exists. Raises: BackendUnavailable `keyring.unavailable`, also if it still exists."""
        if self.get(name) is None:
            return
        self._ask(lambda backend: backend.delete_password(_SERVICE, name))
        if self.get(name) is not None:
            raise self._unavailable("did not delete the secret")

    def _ask(self, question: Callable[[Any], T]) -> T:
        import keyring

        answers: list[T] = []
        faults: list[str] = []

        def work() -> None:
            try:
                answers.append(question(keyring.get_keyring()))
            except BaseException as fault:  # noqa: BLE001 - foreign code may raise anything
                # Only the type: the text may hold the secret.
                faults.append(type(fault).__name__)

        if not any(thread.is_alive() for thread in _unanswered):
            # A daemon: a thread that hangs must not stop the process from ending.
            thread = threading.Thread(target=work, name="keyring", daemon=True)
            thread.start()
            thread.join(SECONDS)
            if answers:
                return answers[0]
            if faults:
                raise self._unavailable(f"refuses: {faults[0]}")
            _unanswered.append(thread)
        raise self._unavailable(f"has not answered for {SECONDS:.0f} s")

    def _unavailable(self, what: str) -> BackendUnavailable:
        return BackendUnavailable(
            "keyring.unavailable",
            f"{self._name} {what}",
            hint=f"unlock the keyring and try again, or keep secrets in private files: set {_VARIABLE}={_NULL};"
            " with BAZAR_TOKEN and a target in the environment, bazar uses no keyring",
        )


def _has_bus(environ: Mapping[str, str]) -> bool:
    runtime = environ.get("XDG_RUNTIME_DIR")
    return bool(environ.get("DBUS_SESSION_BUS_ADDRESS")) or bool(runtime and is_there(Path(runtime) / "bus"))


def _keeps(backend: KeyringBackend) -> bool:
    """Say whether a back end stores secrets."""
    from keyring.backends import chainer, fail, null

    if isinstance(backend, chainer.ChainerBackend):
        return any(map(_keeps, backend.backends))
    return not isinstance(backend, (fail.Keyring, null.Keyring))
