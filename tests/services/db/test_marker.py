"""`db env`: what a database says of itself, and changing it only by its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bazar_cli.domain.db.marker import SET_MARKER, SHOW_MARKER, DatabaseMarker, SetMarker, ShowMarker
from bazar_cli.domain.errors import BazarError, Conflict, Refused, UsageError
from bazar_cli.services.db import marker
from tests.support.people import People, Someone


def name(people: People) -> str:
    return people.sql("SELECT current_database() AS name")[0]["name"]


def shown(people: People, ruler: Someone) -> DatabaseMarker:
    return people.run(ruler, marker.show, SHOW_MARKER, ShowMarker())


def said(people: People) -> list[dict[str, Any]]:
    return people.sql("SELECT before, after, target_type, target_id FROM bazar.audit_events WHERE outcome = 'done'")


def refused(kind: type[BazarError], act: Callable[[], object]) -> BazarError:
    with pytest.raises(kind) as found:
        act()
    return found.value


def test_set_changes_environment_and_protection_and_keeps_the_id(people: People, ruler: Someone) -> None:
    before, db = shown(people, ruler), name(people)
    assert (before.environment, before.protected, before.database) == ("local", False, db)

    after = people.run(ruler, marker.change, SET_MARKER, SetMarker("production", True, db))

    assert after == shown(people, ruler)
    assert (after.environment, after.protected) == ("production", True)
    assert (after.id, after.created_at) == (before.id, before.created_at)
    (event,) = said(people)
    assert (event["target_type"], event["target_id"]) == ("database", db)
    assert event["before"] == {"environment": "local", "protected": False}
    assert event["after"] == {"environment": "production", "protected": True}


def test_only_its_name_confirms(people: People, ruler: Someone) -> None:
    db = name(people)
    for confirm in (None, "", "another", db.upper(), f" {db}"):
        request = SetMarker("my.staging", True, confirm)
        error = refused(Refused, lambda r=request: people.run(ruler, marker.change, SET_MARKER, r))
        assert error.code == "db.confirm_mismatch"
        assert f"`bazar db env set my.staging --protected --confirm {db}`" in error.hint
        assert error.message.endswith(
            "as confirmation" if confirm is None else f"as confirmation, and {confirm!r} is not it"
        )
        assert error.details == {"database": db, **({} if confirm is None else {"confirm": confirm})}
    assert shown(people, ruler).environment == "local"
    assert said(people) == []


def test_already_so_writes_nothing_and_needs_no_name(people: People, ruler: Someone) -> None:
    people.run(ruler, marker.change, SET_MARKER, SetMarker("local", False))
    wrong = SetMarker("local", False, "another")
    assert refused(Refused, lambda: people.run(ruler, marker.change, SET_MARKER, wrong)).code
    assert said(people) == []


def test_dry_run_shows_the_change_and_writes_nothing(people: People, ruler: Someone) -> None:
    after = people.run(ruler, marker.change, SET_MARKER, SetMarker("staging", True), dry_run=True)
    assert (after.environment, after.protected) == ("staging", True)
    assert (shown(people, ruler).environment, said(people)) == ("local", [])


def test_bad_name_and_lost_marker_are_refused(people: People, ruler: Someone) -> None:
    bad = SetMarker("two words", False, name(people))
    assert refused(UsageError, lambda: people.run(ruler, marker.change, SET_MARKER, bad)).code == (
        "db.environment_name"
    )
    people.sql("DELETE FROM bazar.deployment")
    good = SetMarker("staging", False, name(people))
    assert refused(Conflict, lambda: people.run(ruler, marker.change, SET_MARKER, good)).code == "db.no_marker"
    assert refused(Conflict, lambda: shown(people, ruler)).code == "db.no_marker"
