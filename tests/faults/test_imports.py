"""Imports under faults: run again, and every row is in both systems exactly once.

The seed is printed with a failure; BAZAR_TEST_SEED plays the same faults again, as far as a machine repeats itself.
"""

from __future__ import annotations

import os
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from bazar_cli.domain.errors import BackendUnavailable, KeyRefused
from bazar_cli.domain.imports.imports import ImportRun, Via
from bazar_cli.domain.secrets import Secret
from tests.support.auth_proxy import AuthProxy, Fault
from tests.support.concurrently import ended, run_concurrently
from tests.support.imports import Importing, Row, refusing_trigger, rows
from tests.support.people import OLD_PASSWORD, People, Someone, an_address

USERS = "/admin/users"


@pytest.fixture
def importing(people: People, root: Someone) -> Importing:
    """Imports of a superuser."""
    return Importing(people, root)


@pytest.fixture
def seed() -> int:
    """The seed of the faults, which a failure shows."""
    chosen = int(os.environ.get("BAZAR_TEST_SEED") or secrets.randbits(32))
    print(f"BAZAR_TEST_SEED={chosen}")
    return chosen


def apply_through(importing: Importing, proxy: AuthProxy, run: ImportRun) -> None:
    importing.apply(run, target=proxy.target)


def let_claims_run_out(people: People, run: ImportRun) -> None:
    """As 20 s would."""
    people.sql("UPDATE bazar.import_rows SET claimed_until = now() WHERE claim IS NOT NULL AND run_id = %s", run.id)
    people.sql(
        "UPDATE bazar.users SET lease_until = clock_timestamp() WHERE lease_until IS NOT NULL AND id IN"
        " (SELECT user_id FROM bazar.import_rows WHERE run_id = %s)",
        run.id,
    )


def test_faults_of_all_sorts_lose_and_double_nothing(
    importing: Importing, people: People, proxy: AuthProxy, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bazar_cli.adapters.supabase.transport.CALL_SECONDS", 1.0)
    monkeypatch.setattr("bazar_cli.services.imports.calls._FIRST_PAUSE", 0.01)
    stranger = Someone(importing.operator.id, an_address("stranger"))
    people.auth("POST", USERS, {"email": stranger.email, "email_confirm": True}).raise_for_status()
    file = rows(40)
    run = importing.stage([*file, Row(email=stranger.email)], Via.API)
    faults = proxy.fail_at_random(0.3, seed)
    while ("open", None) in importing.statuses(run) and faults.met < 60:
        assert ended(lambda: apply_through(importing, proxy, run)) in {"done", "imports.unfinished"}
    assert faults.met > 10
    proxy.heal()
    if ("open", None) in importing.statuses(run):
        importing.apply(run)
    assert importing.statuses(run).pop() == ("failed", "users.email_at_supabase")
    people.sql("DELETE FROM bazar.import_rows WHERE run_id = %s AND email = %s", run.id, stranger.email)
    importing.assert_exact(run, file)
    assert people.signs_in(file[0].email, OLD_PASSWORD)


@pytest.mark.spread
@pytest.mark.parametrize("status", [429, 500, 502, None], ids=["429", "500", "502", "reset"])
@pytest.mark.parametrize("acts", [False, True], ids=["before", "after"])
def test_an_unknown_outcome_is_looked_up(
    importing: Importing, proxy: AuthProxy, monkeypatch: pytest.MonkeyPatch, status: int | None, acts: bool
) -> None:
    monkeypatch.setattr("bazar_cli.services.imports.calls._FIRST_PAUSE", 0.0)
    file = rows(4)
    run = importing.stage(file, Via.API)
    proxy.add(Fault("POST", USERS, status, acts=acts, times=2, retry_after="0" if status == 429 else None))
    apply_through(importing, proxy, run)
    importing.assert_exact(run, file)
    created = [request for request in proxy.requests if request.startswith("POST")]
    assert len(created) == (4 if acts else 6)


@pytest.mark.parametrize("hopeless", [10, 0], ids=["first rows", "after many"])
def test_a_row_that_supabase_fails_each_time_fails_and_the_others_go_on(
    importing: Importing, people: People, proxy: AuthProxy, monkeypatch: pytest.MonkeyPatch, hopeless: int
) -> None:
    monkeypatch.setattr("bazar_cli.services.imports.calls._FIRST_PAUSE", 0.0)
    monkeypatch.setattr("bazar_cli.services.imports.via_api._HOPELESS", hopeless)
    with refusing_trigger(people) as refused:
        file = [Row(), Row(email=an_address(refused)), Row()]
        run = importing.stage(file, Via.API)
        apply_through(importing, proxy, run)
    assert importing.statuses(run) == [("created", None), ("failed", "imports.not_created"), ("created", None)]
    assert len([r for r in proxy.requests if r.startswith("POST")]) == 2 + (6 if hopeless else 2)
    assert people.sql("SELECT 1 FROM bazar.users WHERE email = %s", file[1].email) == []
    assert {event["outcome"] for event in people.events(file[1].id)} == {"done", "undone"}


def test_an_import_stops_where_supabase_fails_for_all_rows(
    importing: Importing, proxy: AuthProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows that were tried have failed, and the next command continues with the others."""
    monkeypatch.setattr("bazar_cli.services.imports.calls._FIRST_PAUSE", 0.0)
    monkeypatch.setattr("bazar_cli.services.imports.via_api._HOPELESS", 0)
    monkeypatch.setattr("bazar_cli.services.imports.via_api._MOST_IN_A_ROW", 3)
    run = importing.stage(rows(6), Via.API)
    proxy.add(Fault("POST", USERS, 500, times=None))
    with pytest.raises(BackendUnavailable) as failed:
        importing.apply(run, target=proxy.target, concurrency=1)
    assert (failed.value.code, failed.value.details["rows"]) == ("imports.unfinished", 3)
    assert importing.statuses(run) == [("failed", "imports.not_created")] * 3 + [("open", None)] * 3
    proxy.heal()
    apply_through(importing, proxy, run)
    assert importing.statuses(run)[3:] == [("created", None)] * 3


def test_requests_that_are_limited_do_not_count_as_attempts(
    importing: Importing, proxy: AuthProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bazar_cli.services.imports.pace._FIRST_PAUSE", 0.0)
    monkeypatch.setattr("bazar_cli.services.imports.pace._FIRST_INTERVAL", 0.0)
    file = rows(1)
    run = importing.stage(file, Via.API)
    proxy.add(Fault("POST", USERS, 429, times=10))
    apply_through(importing, proxy, run)
    importing.assert_exact(run, file)


def test_an_import_finds_the_rate_of_a_limit(importing: Importing, proxy: AuthProxy) -> None:
    """Nearly all requests succeed, and no row is given up."""
    file = rows(40)
    run = importing.stage(file, Via.API)
    limit = proxy.limit(rate=50, burst=5)
    apply_through(importing, proxy, run)
    importing.assert_exact(run, file)
    assert limit.refused < 20


def test_retry_after_is_honoured(importing: Importing, proxy: AuthProxy) -> None:
    file = rows(3)
    run = importing.stage(file, Via.API)
    proxy.add(Fault("POST", USERS, 429, retry_after="1"))
    began = time.monotonic()
    importing.apply(run, target=proxy.target, concurrency=1)
    assert time.monotonic() - began >= 1
    importing.assert_exact(run, file)


def test_an_import_waits_for_no_limit_of_an_hour(importing: Importing, proxy: AuthProxy) -> None:
    run = importing.stage(rows(30), Via.API)
    proxy.add(Fault("POST", USERS, 429, retry_after="3600", times=None))
    with pytest.raises(BackendUnavailable) as limited:
        importing.apply(run, target=proxy.target)
    assert (limited.value.code, limited.value.details["retry_after"]) == ("imports.unfinished", 3600)
    assert importing.statuses(run) == [("open", None)] * 30


def test_an_import_stops_where_supabase_is_away(
    importing: Importing, people: People, proxy: AuthProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bazar_cli.services.imports.calls._FIRST_PAUSE", 0.0)
    file = rows(60)
    run = importing.stage(file, Via.API)
    proxy.add(Fault("POST", ".*", lasting=True))
    with pytest.raises(BackendUnavailable) as away:
        apply_through(importing, proxy, run)
    assert away.value.code == "imports.unfinished"
    assert importing.statuses(run) == [("open", None)] * 60
    importing.apply(run)  # no lease of the first run is waited for
    importing.assert_exact(run, file)


def test_a_refused_service_key_leaves_nothing(importing: Importing, people: People) -> None:
    file = rows(5)
    run = importing.stage(file, Via.API)
    wrong = replace(people.target, supabase_key=Secret("sb_secret_wrong"), anon_key=people.target.supabase_key)
    with pytest.raises(KeyRefused):
        importing.apply(run, target=wrong)
    assert importing.statuses(run) == [("open", None)] * 5
    assert people.sql("SELECT 1 FROM bazar.users WHERE email = ANY(%s)", [row.email for row in file]) == []
    importing.apply(run)
    assert importing.statuses(run) == [("created", None)] * 5


def test_importers_share_a_run_and_each_row_is_created_once(
    importing: Importing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bazar_cli.services.imports.via_api.CHUNK", 3)
    monkeypatch.setattr("bazar_cli.services.imports.apply._WAIT_SECONDS", 0.1)
    file = rows(30)
    run = importing.stage(file, Via.API)
    assert run_concurrently(*[lambda: importing.apply(run)] * 4) == ["done"] * 4
    importing.assert_exact(run, file)


def test_rows_of_a_dead_importer_are_taken_over(
    importing: Importing, people: People, proxy: AuthProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its create arrives after another importer has taken the row: the fence and the look keep both right."""
    monkeypatch.setattr("bazar_cli.services.imports.apply._WAIT_SECONDS", 0.1)
    file = rows(3)
    run = importing.stage(file, Via.API)
    hold = proxy.hold("POST", USERS, acts=True)
    assert hold.held is not None
    with ThreadPoolExecutor() as pool:
        first = pool.submit(importing.apply, run, target=proxy.target, concurrency=1)
        assert hold.held.wait(60)
        let_claims_run_out(people, run)
        importing.apply(run)
        importing.assert_exact(run, file)
        hold.release.set()
        first.result()
    importing.assert_exact(run, file)
