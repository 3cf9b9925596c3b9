"""Requests to the API with an Idempotency-Key: each is done once in 24 hours, and has the same answer again.

The key is stored in the first transaction that the use case commits, which is that of its intent: so either both are
there, or neither is. The answer follows when the use case is done. A process that ends in between leaves a key without
an answer. The same request finishes it after a minute.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

from bazar_cli.domain.errors import BackendUnavailable, Conflict, UsageError
from bazar_cli.domain.orgs.organizations import CreatedOrganization
from bazar_cli.domain.users.changes import CreatedUser

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.database import Connection
    from bazar_cli.adapters.postgres.idempotency import KeptRequest
    from bazar_cli.domain.authz.spec import Grant
    from bazar_cli.services.gate.backends import Backends

Request = TypeVar("Request")


@dataclass(frozen=True)
class Key:
    """The key of a request, and what the request asks for, which may hold a password."""

    text: str
    payload: bytes

    def fingerprint(self, backends: Backends) -> bytes:
        """Return the fingerprint of the payload, from which nobody without the service key can guess a password."""
        secret = backends.target.supabase_key.reveal().encode()
        return hmac.new(secret, self.payload, hashlib.sha256).digest()


def once(
    use_case: Callable[[Backends, Grant, Request], object],
    key: Key,
    *,
    to_answer: Callable[[object], str],
    answered: Callable[[str], object],
) -> Callable[[Backends, Grant, Request], object]:
    """Return the use case that is done once for a key.

    Parameters: `to_answer` makes of a result the text that is kept, without a secret; `answered` makes a result of it.
    The returned use case raises: Conflict `idempotency.running` while the first request is in hand; UsageError
    `idempotency.other_request`; as the use case.
    """

    def perform(backends: Backends, grant: Grant, request: Request) -> object:
        if grant.dry_run:
            return use_case(backends, grant, request)
        fingerprint = key.fingerprint(backends)
        kept = _find(backends, grant, key, fingerprint)
        if kept is not None and kept.answer is not None:
            return answered(kept.answer)
        database = backends.database()
        before = database.commits
        database.add_to_intent(lambda connection: _claim(connection, grant, key, fingerprint))
        try:
            result = use_case(backends, grant, request)
        except BaseException as error:
            if database.commits > before:
                _release(backends, grant, key)
                raise
            if not isinstance(error, Conflict):
                raise
            # What is in the way may be from a request with the same key, also from one that was faster just now.
            kept = kept or _find(backends, grant, key, fingerprint)
            if kept is not None and kept.answer is not None:
                return answered(kept.answer)
            made = _made_before(backends, grant, kept) if kept is not None else None
            if made is None:
                raise
            result = made
        _finish(backends, grant, key, to_answer(result))
        return result

    return perform


def _find(backends: Backends, grant: Grant, key: Key, fingerprint: bytes) -> KeptRequest | None:
    from bazar_cli.adapters.postgres import idempotency

    with backends.database().read(grant) as connection:
        kept = idempotency.find(connection, grant.operator.id, key.text)
    if kept is None:
        return None
    if kept.fingerprint != fingerprint:
        raise UsageError(
            "idempotency.other_request",
            f"the Idempotency-Key {key.text!r} belongs to another request of the last 24 hours",
            hint="use a new key for each request, and the same key only to repeat one",
            details={"key": key.text},
        )
    if kept.answer is None and kept.running:
        raise _running(key)
    return kept


def _claim(connection: Connection, grant: Grant, key: Key, fingerprint: bytes) -> None:
    from bazar_cli.adapters.postgres import idempotency

    if not idempotency.claim(connection, grant, key.text, fingerprint):
        raise _running(key)


def _running(key: Key) -> Conflict:
    return Conflict(
        "idempotency.running",
        f"another request with the Idempotency-Key {key.text!r} is in hand",
        hint="wait for its answer, or repeat this request in some seconds for the same answer",
        details={"key": key.text},
    )


def _finish(backends: Backends, grant: Grant, key: Key, answer: str) -> None:
    from bazar_cli.adapters.postgres import idempotency

    try:
        with backends.database().transaction(grant, finishing=True) as connection:
            idempotency.finish(connection, grant, key.text, answer)
    except BackendUnavailable:
        # The change is done, and its answer may hold the only copy of a password: it must reach the client.
        return


def _release(backends: Backends, grant: Grant, key: Key) -> None:
    from bazar_cli.adapters.postgres import idempotency

    try:
        with backends.database().transaction(grant, finishing=True) as connection:
            idempotency.release(connection, grant, key.text)
    except BackendUnavailable:
        return  # the key is free in a minute; the error of the use case says more


def _made_before(backends: Backends, grant: Grant, kept: KeptRequest) -> object | None:
    """Return what an earlier request with the key created before its process ended; None for nothing."""
    from bazar_cli.adapters.postgres import idempotency
    from bazar_cli.adapters.postgres.orgs import organizations
    from bazar_cli.adapters.postgres.users import users

    with backends.database().read(grant) as connection:
        target = idempotency.target_of(connection, grant, kept.request_ids)
        if target is None:
            return None
        user = users.find(connection, grant.reach, str(UUID(target)))
        if user is not None:
            return CreatedUser(user, created=True) if user.pending is None else None
        organization = organizations.find(connection, grant.reach, str(UUID(target)))
        return None if organization is None else CreatedOrganization(organization)
