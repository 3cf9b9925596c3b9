"""New users of a run through Supabase Auth's admin API, by the protocol of `users.two_systems` for a chunk at a time.

1. Intent: one transaction claims rows, inserts their users with `pending create` and a lease, and records the events.
2. Look: an identity that may be there is looked at first, by its id.
3. Fence: a request begins only while the leases outlast it. They are renewed together.
4. Call: many run side by side (`pace`). Done, refused and unknown mean the same as for one user. An unknown outcome is
   looked up and tried again a few times; then the row remains pending.
5. Settle: one transaction clears `pending`, takes back what Supabase refused, and ends the rows.

An importer that dies leaves a chunk with a lease. When it has run out, another importer takes the chunk at step 2.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.errors import BackendUnavailable, BazarError, Conflict, KeyRefused, UsageError
from bazar_cli.domain.imports.imports import Action, ImportRun, Status
from bazar_cli.domain.secrets import Secret, announced_to
from bazar_cli.domain.texts import counted
from bazar_cli.domain.users.identities import CREATED, Failure, IdentityRefused, NewIdentity, OutcomeUnknown
from bazar_cli.services.apply.workers import PATIENCE_SECONDS
from bazar_cli.services.imports import conflicts, rights
from bazar_cli.services.imports.pace import Pace
from bazar_cli.services.users import leases
from bazar_cli.services.users.errors import refused_by_supabase
from bazar_cli.services.users.new_identity import not_theirs, taken_at_supabase
from bazar_cli.services.users.passwords import hash_of_no_password

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.database import Connection
    from bazar_cli.adapters.postgres.imports.creations import Chunk, ClaimedRow
    from bazar_cli.adapters.supabase.bulk import BulkAdminClient
    from bazar_cli.services.gate.backends import Backends

CHUNK = 400
"""Rows whose leases are renewed together: more would take longer than a lease where Supabase is slow."""
_ATTEMPTS = 6
"""How often a row is tried whose outcome is unknown."""
_FIRST_PAUSE = 0.2
"""Seconds before the second attempt; each further pause is twice as long."""
_RENEW_SECONDS = 5.0
_GIVE_UP = 10
"""Rows in a row without any outcome: then Supabase is away."""


@dataclass
class _Claimed:
    """A chunk that was claimed: its rows that need an identity, and their deployment."""

    chunk: Chunk
    rows: list[ClaimedRow]
    deployment: uuid.UUID
    ended: int
    """How many other rows of the chunk have ended already."""
    since: leases.Since


class ViaApi:
    """Creates the users of one run, chunk by chunk."""

    def __init__(self, run: ImportRun, pace: Pace, ended: Callable[[], bool]) -> None:
        self._run = run
        self._pace = pace
        self._ended = ended
        self.given_up = set[int]()
        """Lines whose outcome remained unknown; the next run of the command tries them again."""
        self.silence: OutcomeUnknown | BackendUnavailable | None = None
        """Why an outcome remained unknown."""

    def work(self, backends: Backends, grant: Grant, until: float, done: Callable[[int], None]) -> bool:
        """Create users until a monotonic time, or until no row is free; return whether any row was.

        Parameters: `done` gets how many rows ended. Raises: KeyRefused; BackendUnavailable `imports.unfinished` when
        Supabase does not answer; as `leases.when_free`.
        """
        return asyncio.run(self._work(backends, grant, until, done))

    async def _work(self, backends: Backends, grant: Grant, until: float, done: Callable[[int], None]) -> bool:
        found = False
        async with backends.bulk_admin(grant, self._pace.most) as client:
            while not self._ended():
                claimed = leases.when_free(
                    lambda connection: _claim(connection, grant, self._run, self.given_up), backends, grant
                )
                if claimed is None:
                    break
                found = True
                creating = _Creating(backends, grant, claimed, client, self._pace, self._ended)
                try:
                    await creating.run()
                finally:
                    done(claimed.ended + creating.settle(self._run))
                    self.given_up.update(creating.given_up)
                    self.silence = creating.silence or self.silence
                if creating.failure is not None:
                    raise creating.failure
                if time.monotonic() >= until:
                    break
        return found


def _claim(connection: Connection, grant: Grant, run: ImportRun, given_up: Collection[int]) -> _Claimed | None:
    """Claim a chunk and commit to its users, or end its rows; None without a free row."""
    from bazar_cli.adapters.postgres.imports import creations
    from bazar_cli.adapters.postgres.users import users

    chunk, since = creations.Chunk(run.id, uuid.uuid4()), leases.Since()
    rows = {row.line: row for row in creations.claim(connection, chunk, Action.CREATE, CHUNK, given_up)}
    if not rows:
        return None
    new = [row.line for row in rows.values() if not row.resumed]
    ended = rights.refused(connection, grant, run, chunk, new) if new else []
    allowed = set(new).difference(e.line for e in ended)
    inserted = creations.insert(connection, chunk, allowed)
    made = [line for line in allowed if rows[line].user_id in inserted]
    if "organizations" in run.columns:
        creations.join(connection, chunk, made)
    creations.record(connection, grant, chunk, made)
    taken_up = creations.resume(connection, chunk, rows.keys() - set(new))
    works = taken_up.union(made)
    left = rows.keys() - works - {e.line for e in ended}
    if left:
        for found in creations.look_up(connection, chunk, left):
            row = rows[found.line]
            outcome = conflicts.outcome(run, found, ours=row.resumed, has_hash=row.password_hash is not None)
            ended += [] if outcome is None else [outcome]
    creations.end(connection, chunk, ended)
    # What stood in the way of these is gone again; of the others another command holds the lease.
    creations.unclaim(connection, chunk, (left - {e.line for e in ended}).intersection(new))
    return _Claimed(chunk, [rows[line] for line in sorted(works)], users.deployment(connection), len(ended), since)


class _Creating:
    """The requests of one chunk."""

    def __init__(
        self,
        backends: Backends,
        grant: Grant,
        claimed: _Claimed,
        client: BulkAdminClient,
        pace: Pace,
        ended: Callable[[], bool],
    ) -> None:
        self._backends = backends
        self._grant = grant
        self._claimed = claimed
        self._client = client
        self._pace = pace
        self._is_ended = ended
        self._left = deque(claimed.rows)
        self._held = {row.line for row in claimed.rows}
        self._since = claimed.since
        self._renewing = asyncio.Lock()
        self._looking = asyncio.Lock()
        self._postgres = threading.Lock()
        """The connection serves one thread at a time, also after an interrupt."""
        self._created: list[ClaimedRow] = []
        self._refused: list[tuple[ClaimedRow, BazarError]] = []
        self._begun = set[int]()
        """Lines of rows for which a request was made."""
        self._untouched: list[ClaimedRow] = []
        """Rows of which the service key was refused at the first request."""
        self._silent = 0
        """Rows without an outcome since Supabase last answered."""
        self.given_up = set[int]()
        """Lines whose outcome remained unknown."""
        self.silence: OutcomeUnknown | BackendUnavailable | None = None
        self.failure: BazarError | None = None
        """The error that ends the run."""

    async def run(self) -> None:
        """Make the requests of all rows, as long as the command is not to end and Supabase answers."""
        working = [asyncio.create_task(self._work()) for _ in range(min(self._pace.most, len(self._left)))]
        renewing = asyncio.create_task(self._keep_leases())
        try:
            await asyncio.gather(*working)
        finally:
            for task in (*working, renewing):
                task.cancel()
            await asyncio.gather(*working, renewing, return_exceptions=True)

    def settle(self, run: ImportRun) -> int:
        """End the rows whose outcome is known, and release the others; return how many have ended.

        Raises: as `leases.when_free`.
        """
        if isinstance(self.failure, KeyRefused):
            self._untouched += [r for r in self._claimed.rows if r.line not in self._begun and not r.resumed]
        lost: list[ClaimedRow] = []

        def step(connection: Connection) -> int:
            lost.clear()
            return self._settle(connection, run, lost)

        with self._postgres:
            ended = leases.when_free(step, self._backends, self._grant, finishing=True)
        for row in lost:
            # The request came when the user had been deleted: nothing may be left at Supabase.
            try:
                self._backends.admin(self._grant).delete(row.user_id)
            except (IdentityRefused, OutcomeUnknown) as error:
                raise unfinished(1, error) from error
        return ended

    def _settle(self, connection: Connection, run: ImportRun, lost: list[ClaimedRow]) -> int:
        from bazar_cli.adapters.postgres.imports import creations

        chunk, grant = self._claimed.chunk, self._grant
        settled = creations.settle(connection, chunk, self._created)
        ended = [creations.Ended(row.line, Status.CREATED) for row in self._created if row.user_id in settled]
        # A stamped identity with another address is ours: its user remains pending.
        undone = [(row, why.message) for row, why in self._refused if why.code != "users.email_differs"]
        undone += [(row, str(self.failure)) for row in self._untouched]
        gone = creations.take_back(connection, grant, chunk, undone)
        for row, why in self._refused:
            if row.user_id in gone or why.code == "users.email_differs":
                ended.append(creations.Ended(row.line, Status.FAILED, why.code, why.message))
        missed = {row.line: row for row in self._created if row.user_id not in settled}
        for found in creations.look_up(connection, chunk, missed) if missed else ():
            row = missed[found.line]
            if not found.is_there:
                lost.append(row)
            outcome = conflicts.outcome(run, found, ours=True, has_hash=row.password_hash is not None)
            ended += [] if outcome is None else [outcome]
        count = creations.end(connection, chunk, ended)
        creations.unclaim(connection, chunk, [row.line for row in self._untouched])
        rest = [row for row in self._claimed.rows if row.user_id not in settled and row.user_id not in gone]
        if rest:
            creations.release(connection, chunk, rest)
        return count

    async def _work(self) -> None:
        while self._left and not self._stops():
            row = self._left.popleft()
            try:
                outcome = await self._outcome(row)
            except BazarError as error:
                self.failure = self.failure or error
                return
            if isinstance(outcome, BazarError):
                self._refused.append((row, outcome))
            elif outcome:
                self._created.append(row)

    def _stops(self) -> bool:
        return self.failure is not None or self._is_ended()

    async def _outcome(self, row: ClaimedRow) -> BazarError | bool:
        """Bring about the identity of a row. Returns True, the error of a refusal, or False if it is not known."""
        attempt = _Attempt(row, looks=row.resumed)
        for number in range(_ATTEMPTS):
            if number:
                await self._pace.sleep(_FIRST_PAUSE * 2 ** (number - 1) * random.uniform(0.5, 1))  # noqa: S311 - jitter
            if self._stops() or not await self._pace.begin():
                break
            began = time.monotonic()
            try:
                if self._stops() or not await self._may_call(row):
                    return False
                self._begun.add(row.line)
                outcome = await self._try(attempt)
                self._pace.went_well()
                self._silent = 0
                return outcome
            except OutcomeUnknown as unknown:
                attempt.looks = True
                self._unknown(unknown, began)
            except BackendUnavailable as silent:
                if silent.code != "supabase.unavailable":
                    raise
                self._unknown(silent, began)
            except KeyRefused:
                if not attempt.looks:
                    self._untouched.append(row)
                raise
            finally:
                self._pace.end()
        else:
            return await self._owner(attempt)
        return False

    async def _try(self, attempt: _Attempt) -> BazarError | bool:
        """Look where a creation may be done, then create.

        Raises: OutcomeUnknown; BackendUnavailable; KeyRefused.
        """
        row = attempt.row
        while True:
            if attempt.looks:
                identity = await self._client.get(row.user_id)
                if identity is not None:
                    return not_theirs(row.user_id, row.email, self._claimed.deployment, identity) or True
                if attempt.refusal is not None:
                    return _refusal(row.email, attempt.refusal)
                if not await self._may_call(row):
                    raise OutcomeUnknown("another command continued with the user")
            try:
                await self._client.create(self._identity(row))
            except IdentityRefused as refusal:
                if not attempt.looks and refusal.code != "email_exists":
                    return _refusal(row.email, refusal)
                # An earlier request, or another command, may have created it.
                attempt.refusal, attempt.looks = refusal, True
            else:
                return True

    async def _owner(self, attempt: _Attempt) -> BazarError | bool:
        """Say after the last attempt whether another identity has the address, so that it can never be done."""
        row = attempt.row
        async with self._looking:  # one at a time: it costs the server most
            if self._stops() or not await self._may_call(row):
                return False
            try:
                owner = await asyncio.to_thread(self._backends.admin(self._grant).find_by_email, row.email)
            except BackendUnavailable:
                owner = None
        if owner is not None and owner.id != row.user_id:
            return taken_at_supabase(row.email)
        self.given_up.add(row.line)
        self._silent += 1
        if self._silent >= _GIVE_UP and self.failure is None:
            self.failure = unfinished(self._silent, self.silence)
        return False

    def _identity(self, row: ClaimedRow) -> NewIdentity:
        with announced_to(_nobody):  # a million hashes would slow down every message
            given = hash_of_no_password() if row.password_hash is None else Secret(row.password_hash)
        return NewIdentity(
            id=row.user_id,
            email=row.email,
            deployment=self._claimed.deployment,
            origin=CREATED,
            password=None,
            password_hash=given,
            user_metadata=row.user_metadata,
            app_metadata=row.app_metadata,
        )

    def _unknown(self, error: OutcomeUnknown | BackendUnavailable, began: float) -> None:
        self.silence = error
        limit = error.limit
        if limit is not None and (limit.retry_after or 0) > PATIENCE_SECONDS:
            self.failure = self.failure or unfinished(1, error)
            return
        self._pace.failed(began, limited=limit is not None, retry_after=None if limit is None else limit.retry_after)

    # -- leases -------------------------------------------------------------------------------------------

    async def _may_call(self, row: ClaimedRow) -> bool:
        """Make sure before a request that the lease outlasts it; False if another command has the row."""
        if not self._since.allows_a_call():
            await self._renew()
        return row.line in self._held

    async def _keep_leases(self) -> None:
        while True:
            await asyncio.sleep(_RENEW_SECONDS)
            try:
                await self._renew()
            except BazarError as error:
                self.failure = self.failure or error
                return

    async def _renew(self) -> None:
        async with self._renewing:
            if self._since.allows_a_call() and self._since.seconds < _RENEW_SECONDS / 2:
                return
            since = leases.Since()
            self._held = await asyncio.to_thread(self._renewed)
            self._since = since

    def _renewed(self) -> set[int]:
        from bazar_cli.adapters.postgres.imports import creations

        def step(connection: Connection) -> set[int]:
            return set(creations.renew(connection, self._claimed.chunk, self._claimed.rows))

        with self._postgres:
            return leases.when_free(step, self._backends, self._grant, finishing=True)


@dataclass
class _Attempt:
    """What is known about the identity of a row."""

    row: ClaimedRow
    looks: bool
    """It may be there already."""
    refusal: IdentityRefused | None = None


def _refusal(email: str, refusal: IdentityRefused) -> Conflict | UsageError:
    return taken_at_supabase(email) if refusal.code == "email_exists" else refused_by_supabase(email, refusal)


def unfinished(rows: int, why: Failure | None) -> BackendUnavailable:
    """Return the error for rows whose outcome at Supabase is unknown."""
    return BackendUnavailable(
        "imports.unfinished",
        f"the outcome of {counted(rows, 'row')} at Supabase Auth is unknown: {why}",
        hint="run the same command again: it continues where this one stopped",
        details={"rows": rows},
        limit=None if why is None else why.limit,
    )


def _nobody(_secret: str) -> None:
    """Remember nothing."""
