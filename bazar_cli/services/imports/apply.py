"""The last phase of an import: all open rows of a run, chunk by chunk, shared with other importers of the same run.

The operator is proven and decided about again at least each minute. Each chunk is a step: the command ends between two.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from bazar_cli.adapters.polling import poll
from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.entities import Plan
from bazar_cli.domain.errors import RightsChanged
from bazar_cli.domain.imports.imports import IMPORT, ImportRun, ImportUsers, Via
from bazar_cli.domain.progress import Progress
from bazar_cli.domain.users.changes import CREATE, CreateUser
from bazar_cli.services.imports import updates
from bazar_cli.services.imports.calls import unfinished
from bazar_cli.services.imports.pace import Pace
from bazar_cli.services.imports.via_api import ViaApi
from bazar_cli.services.imports.via_database import ViaDatabase

if TYPE_CHECKING:
    from bazar_cli.services.gate.backends import Backends
    from bazar_cli.services.gate.gate import Gate

CONCURRENCY = 16
"""Requests side by side, unless the operator names another number."""
PROVEN_SECONDS = 40.0
"""Below the minute after which the operator must be proven again, by the length of a chunk."""
_LOOK_SECONDS = 0.5
_WAIT_SECONDS = 2.0
"""How long to wait for the chunks of other importers before free rows are looked for again."""
_DOING = "rows applied"


def apply(
    gate: Gate, run: ImportRun, progress: Progress, ended: Callable[[], bool], concurrency: int | None = None
) -> None:
    """Apply all open rows of a run until none is open or the command is to end.

    Rows that another importer works on are waited for, and taken over if it dies. Parameters: `ended` says whether a
    signal arrived; `concurrency` is how many requests may run side by side.
    Raises: Denied; RightsChanged; KeyRefused; BackendUnavailable, `imports.unfinished` for rows whose outcome at
    Supabase is unknown; Conflict `imports.auth_elsewhere`, `imports.auth_schema_unknown`.
    """
    _Application(gate, run, progress, ended, concurrency or CONCURRENCY).run()


class _Application:
    def __init__(
        self, gate: Gate, run: ImportRun, progress: Progress, ended: Callable[[], bool], concurrency: int
    ) -> None:
        self._gate = gate
        self._run = run
        self._request = ImportUsers(run.content_hash, run.via, run.on_conflict)
        self._progress = progress
        self._ended = ended
        self._way = ViaDatabase(run, ended) if run.via is Via.DATABASE else ViaApi(run, Pace(concurrency, ended), ended)
        self._open = 0
        self._left = 0
        """The open rows that this importer has not given up."""
        self._assigns_plans = False
        """Whether a new user gets another plan than Free."""
        self._proven = time.monotonic()

    def run(self) -> None:
        self._open = self._gate.perform(self._look, IMPORT, self._request)
        while self._open and not self._ended():
            if time.monotonic() - self._proven >= PROVEN_SECONDS:
                self._prove()
            if self._step():
                continue
            self._open = self._gate.perform(self._look, IMPORT, self._request)
            self._show()
            if self._open and not self._left:
                raise unfinished(self._open, self._way.silence if isinstance(self._way, ViaApi) else None)
            if self._open:
                poll(self._ended, seconds=_WAIT_SECONDS, pause=_LOOK_SECONDS)

    def _step(self) -> bool:
        """Apply free rows for a while; return whether there were any."""
        before = self._open
        try:
            created = self._gate.perform(self._create, IMPORT, self._request)
            updated = updates.work(self._gate, self._run, self._request, self._ended)
        except RightsChanged:
            if self._open == before:
                raise
            # They changed after rows were written: the next step decides with the present ones.
            return True
        if updated is not None:
            self._note(updated)
        return created or updated is not None

    def _create(self, backends: Backends, grant: Grant, _request: ImportUsers) -> bool:
        grant.demand(IMPORT)
        return self._way.work(backends, grant, self._proven + PROVEN_SECONDS, self._note)

    def _look(self, backends: Backends, grant: Grant, _request: ImportUsers) -> int:
        """Return how many rows are open."""
        from bazar_cli.adapters.postgres.imports import creations

        grant.demand(IMPORT)
        with backends.database().read(grant) as connection:
            self._assigns_plans = "plan" in self._run.columns and creations.assigns_plans(connection, self._run.id)
            self._left = creations.count_open(connection, self._run.id, self._way.given_up)
            return creations.count_open(connection, self._run.id)

    def _prove(self) -> None:
        """Prove the operator again, and ask the gate for the right that single rows need in addition."""
        self._gate.prove_again()
        if self._assigns_plans:
            self._gate.authorize(CREATE, CreateUser("", plan=Plan.PREMIUM))
        self._proven = time.monotonic()

    def _note(self, rows: int) -> None:
        self._open -= rows
        self._show()

    def _show(self) -> None:
        self._progress(_DOING, self._run.rows - max(0, self._open), self._run.rows)
