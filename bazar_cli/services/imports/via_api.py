"""New users of a run through Supabase Auth's admin API, by the protocol of `users.two_systems` for a chunk at a time.

1. Intent: one transaction claims rows, inserts their users with `pending create` and a lease, and records the events.
2. Look: an identity that may be there is looked at first, by its id.
3. Fence: a request begins only while the leases outlast it. They are renewed together.
4. Call: many run side by side (`calls`). Done, refused and unknown mean the same as for one user. An unknown outcome is
   looked up and tried again a few times. Then the row remains pending, or fails if Supabase failed each time and has no
   such identity.
5. Settle: one transaction clears `pending`, takes back what Supabase refused, and ends the rows.

An importer that dies leaves a chunk with a lease. When it has run out, another importer takes the chunk at step 2.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.errors import BackendUnavailable, BazarError, Conflict, KeyRefused, UsageError
from bazar_cli.domain.imports.imports import Action, ImportRun, Status
from bazar_cli.domain.secrets import Secret, announced_to
from bazar_cli.domain.texts import counted
from bazar_cli.domain.users.identities import CREATED, IN_THE_WAY, IdentityRefused, NewIdentity, OutcomeUnknown
from bazar_cli.services.imports import conflicts, rights
from bazar_cli.services.imports.calls import Attempt, Calls, unfinished
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
_HOPELESS = 10
"""Rows that Supabase answered with 500 each time: those after them are tried less often."""
_MOST_IN_A_ROW = 100
"""Such rows without a success between them: then Supabase fails as a whole, and no more rows are to fail for it."""


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
        self._hopeless = _Hopeless()

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
                if claimed is None or not (claimed.rows or claimed.ended):
                    break
                found = True
                creating = _Creating(backends, grant, claimed, client, self._pace, self._ended, self._hopeless)
                try:
                    await creating.run()
                finally:
                    done(claimed.ended + creating.settle())
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
    prevented, resumed = left.intersection(new), left.difference(new)
    for found in creations.look_up(connection, chunk, resumed) if resumed else ():
        outcome = conflicts.of_ours(found, is_whole=rows[found.line].is_bare)
        ended += [] if outcome is None else [outcome]
    count = creations.end(connection, chunk, ended)
    count += conflicts.of_others(connection, grant, run, chunk, prevented)
    creations.unclaim(connection, chunk, prevented)
    return _Claimed(chunk, [rows[line] for line in sorted(works)], users.deployment(connection), count, since)


@dataclass
class _Hopeless:
    """Rows of this run that Supabase answered with 500 each time: all, and those since the last success."""

    rows: int = 0
    in_a_row: int = 0


class _Creating(Calls["ClaimedRow"]):
    """The requests of one chunk that create identities."""

    def __init__(
        self,
        backends: Backends,
        grant: Grant,
        claimed: _Claimed,
        client: BulkAdminClient,
        pace: Pace,
        ended: Callable[[], bool],
        hopeless: _Hopeless,
    ) -> None:
        super().__init__(claimed.rows, pace, ended, claimed.since)
        self._backends = backends
        self._grant = grant
        self._claimed = claimed
        self._client = client
        self._looking = asyncio.Lock()
        self._created: list[ClaimedRow] = []
        self._found = set[int]()
        """Lines whose identity was there before a request of this importer succeeded."""
        self._refused: list[tuple[ClaimedRow, BazarError]] = []
        self._untouched: list[ClaimedRow] = []
        """Rows of which the service key was refused at the first request."""
        self._hopeless = hopeless

    @property
    def attempts(self) -> int:
        """How often a row is tried: after many rows that fail each time, no longer as often."""
        return super().attempts if self._hopeless.rows < _HOPELESS else 2

    def settle(self) -> int:
        """End the rows whose outcome is known, and release the others; return how many have ended.

        Raises: as `leases.when_free`.
        """
        if isinstance(self.failure, KeyRefused):
            self._untouched += [r for r in self._claimed.rows if r.line not in self._begun and not r.resumed]
        lost: list[ClaimedRow] = []

        def step(connection: Connection) -> int:
            lost.clear()
            return self._settle(connection, lost)

        with self._postgres:
            ended = leases.when_free(step, self._backends, self._grant, finishing=True)
        for row in lost:
            # The request came when the user had been deleted: nothing may be left at Supabase.
            try:
                self._backends.admin(self._grant).delete(row.user_id)
            except (IdentityRefused, OutcomeUnknown) as error:
                raise unfinished(1, error) from error
        return ended

    def _settle(self, connection: Connection, lost: list[ClaimedRow]) -> int:
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
            outcome = conflicts.of_ours(found, is_whole=row.line not in self._found or row.is_bare)
            ended += [] if outcome is None else [outcome]
        count = creations.end(connection, chunk, ended)
        creations.unclaim(connection, chunk, [row.line for row in self._untouched])
        rest = [row for row in self._claimed.rows if row.user_id not in settled and row.user_id not in gone]
        if rest:
            creations.release(connection, chunk, rest)
        return count

    async def ask(self, attempt: Attempt[ClaimedRow]) -> None:
        """Look where a creation may be done, then create."""
        row = attempt.row
        while True:
            if attempt.looks:
                if await self._is_there(row):
                    return
                if attempt.refusal is not None:
                    self._refused.append((row, _refusal(row.email, attempt.refusal)))
                    return
                if not await self.may_call(row):
                    raise OutcomeUnknown("another command continued with the user")
            try:
                await self._client.create(self._identity(row))
            except IdentityRefused as refusal:
                if not attempt.looks and refusal.code != "email_exists":
                    self._refused.append((row, _refusal(row.email, refusal)))
                    return
                # An earlier request, or another command, may have created it.
                attempt.refusal, attempt.looks = refusal, True
            else:
                self._hopeless.in_a_row = 0
                self._created.append(row)
                return

    async def _is_there(self, row: ClaimedRow) -> bool:
        """Say whether an identity has the id of a row, and note what that means. Raises: as `BulkAdminClient.get`."""
        identity = await self._client.get(row.user_id)
        if identity is None:
            return False
        why = not_theirs(row.user_id, row.email, self._claimed.deployment, identity)
        if why is not None:
            self._refused.append((row, why))
        else:
            self._found.add(row.line)
            self._created.append(row)
        return True

    async def last_look(self, attempt: Attempt[ClaimedRow], /) -> bool:
        """Say whether it is known now: the identity is there, another has the address, or Supabase fails each time."""
        row = attempt.row
        async with self._looking:  # one at a time: it costs the server most
            if self.stops() or not await self.may_call(row):
                return True
            try:
                if await self._is_there(row):
                    return True
                owner = await asyncio.to_thread(self._backends.admin(self._grant).find_by_email, row.email)
            except BackendUnavailable:
                return False
        if owner is not None and owner.id != row.user_id:
            self._refused.append((row, taken_at_supabase(row.email)))
        elif owner is None and attempt.failed_inside:
            self._note_hopeless(attempt)
        else:
            return False
        return True

    def _note_hopeless(self, attempt: Attempt[ClaimedRow]) -> None:
        hopeless, why = self._hopeless, attempt.unknown[-1]
        hopeless.rows += 1
        hopeless.in_a_row += 1
        self._refused.append((attempt.row, _not_created(attempt.row.email, len(attempt.unknown), why)))
        if hopeless.in_a_row >= _MOST_IN_A_ROW and self.failure is None:
            self.failure = BackendUnavailable(
                "imports.unfinished",
                f"Supabase Auth created none of the last {hopeless.in_a_row} users: {why}",
                hint=f"run the same command again: it continues with the next rows. {IN_THE_WAY}",
                details={"rows": hopeless.in_a_row},
            )

    def key_refused(self, attempt: Attempt[ClaimedRow], /) -> None:
        """Leave nothing of a row for which no other request was made."""
        if not attempt.looks:
            self._untouched.append(attempt.row)

    def renewed(self) -> set[int]:
        """Renew the leases; return the lines of the rows that this importer still holds."""
        from bazar_cli.adapters.postgres.imports import creations

        def step(connection: Connection) -> set[int]:
            return set(creations.renew(connection, self._claimed.chunk, self._claimed.rows))

        return leases.when_free(step, self._backends, self._grant, finishing=True)

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


def _refusal(email: str, refusal: IdentityRefused) -> Conflict | UsageError:
    return taken_at_supabase(email) if refusal.code == "email_exists" else refused_by_supabase(email, refusal)


def _not_created(email: str, times: int, why: Exception) -> Conflict:
    return Conflict(
        "imports.not_created",
        f"Supabase Auth answered {counted(times, 'request')} to create {email} with an error, and has no such identity:"
        f" {why}",
        hint=IN_THE_WAY,
    )


def _nobody(_secret: str) -> None:
    """Remember nothing."""
