"""Resets of a database, and their refusals."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import pytest

from bazar_cli.adapters.migrations.reset import resetter
from bazar_cli.adapters.migrations.reverter import Reverter
from bazar_cli.adapters.migrations.revision_files import revisions, script_location
from bazar_cli.domain.authz.policy import decide_bootstrap
from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.db.migrations import ROLLBACK, MigrationStatus
from bazar_cli.domain.db.reset import RESET, DatabaseReset, ResetDatabase, ResetPlan
from bazar_cli.domain.errors import BazarError
from bazar_cli.services.db.reset import reset
from tests.support.people import REQUEST_ID, People, Someone, an_identity, granted
from tests.support.postgres import name_of
from tests.support.row_versions import row_versions

ALL = [r.id for r in revisions(script_location())]
HEAD = ALL[-1]


def url_of(people: People) -> str:
    return people.target.database_url.reveal()


def run(people: People, operator: Someone, *, dry_run: bool = False, **asked: Any) -> DatabaseReset:
    request = ResetDatabase(confirm=name_of(url_of(people)), **asked)
    return people.run(operator, reset, RESET, request, dry_run=dry_run)


@contextmanager
def refused(people: People, kind: type[BazarError], code: str) -> Generator[BazarError]:
    """Expect this error, and a database that nothing was done to."""
    before, caught = row_versions(url_of(people)), BazarError("", "")
    with pytest.raises(kind) as error:
        yield caught
    assert error.value.code == code, error.value
    caught.message, caught.hint, caught.details = error.value.message, error.value.hint, error.value.details
    assert row_versions(url_of(people)) == before


def behind(people: People) -> None:
    """Take the newest revision back, so that a reset must drop the tables."""
    reverter = Reverter(people.target, granted(people.operator(people.superuser()), ROLLBACK))
    seen = reverter.preview(reverter.status(), reverter.chosen(reverter.status(), 1, None))
    reverter.revert(seen, lambda _status: None, lambda _text: None, again=False)


def after_preview(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Do something right after the reset was planned, before it takes locks."""
    looked = resetter.Resetter.preview

    def preview(self: resetter.Resetter, grant: Grant, status: MigrationStatus) -> ResetPlan:
        plan = looked(self, grant, status)
        act()
        return plan

    monkeypatch.setattr(resetter.Resetter, "preview", preview)


def by_bootstrap(someone: Someone) -> Grant:
    grant = decide_bootstrap(someone.id, someone.email, RESET, REQUEST_ID, dry_run=False, identity=an_identity(someone))
    assert grant is not None
    return grant
