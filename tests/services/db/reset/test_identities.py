"""`db reset --identities`: identities that this deployment created are deleted, and no others."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import pytest

from bazar_cli.adapters.supabase import admin
from bazar_cli.domain.errors import BackendUnavailable, Conflict, Refused
from tests.services.db.reset.support import refused, run, url_of
from tests.support.auth_proxy import Fault, auth_proxy
from tests.support.people import People, Someone, an_address
from tests.support.row_versions import row_versions


@dataclass
class Stamped:
    """A deployment, and identities of every kind at its Supabase."""

    people: People
    ruler: Someone
    created: list[Someone]
    others: list[Someone]

    def there(self, some: list[Someone]) -> list[bool]:
        return [bool(self.people.identities(one.email)) for one in some]


@pytest.fixture
def stamped(alone: People) -> Stamped:
    alone.sql("UPDATE bazar.deployment SET id = gen_random_uuid()")
    ours = str(alone.sql("SELECT id FROM bazar.deployment")[0]["id"])

    def identity(deployment: str | None, origin: str = "created") -> Someone:
        made = Someone(uuid.uuid4(), an_address())
        stamp: dict[str, object] = {"bazar": {"deployment": deployment, "origin": origin}} if deployment else {}
        alone.identity(made, app_metadata=stamp)
        return made

    ruler = alone.superuser()
    alone.identity(ruler, app_metadata={"bazar": {"deployment": ours, "origin": "created"}})
    others = [identity(ours, "adopted"), identity(None), identity(str(uuid.uuid4())), identity(ours, "else"), ruler]
    return Stamped(alone, ruler, [identity(ours) for _ in range(5)], others)


def test_only_identities_created_here_are_deleted(stamped: Stamped, monkeypatch: pytest.MonkeyPatch) -> None:
    people, ruler = stamped.people, stamped.ruler
    there = int(people.auth("GET", "/admin/users?per_page=1").headers["X-Total-Count"])
    monkeypatch.setattr(admin, "_LARGE_PAGE", there // 5 + 1)
    before = row_versions(url_of(people))
    assert run(people, ruler, dry_run=True, identities=True).identities == 5
    assert row_versions(url_of(people)) == before
    assert all(stamped.there(stamped.created))
    assert run(people, ruler).identities is None
    assert all(stamped.there(stamped.created))

    assert run(people, ruler, identities=True).identities == 5

    assert not any(stamped.there(stamped.created))
    assert all(stamped.there(stamped.others))
    (event,) = people.sql("SELECT after FROM bazar.audit_events")
    assert event["after"]["identities_deleted"] == 5
    assert run(people, ruler, identities=True).identities == 0


@pytest.mark.parametrize(("status", "deleted"), [(422, 4), (429, 4), (500, 0)])
def test_identity_that_cannot_be_deleted_keeps_the_tables(stamped: Stamped, status: int, deleted: int) -> None:
    kept = stamped.created[2] if deleted else None
    path = f"/admin/users/{kept.id}" if kept else "/admin/users/.*"
    with auth_proxy(stamped.people.target) as proxy, People(proxy.target) as astray:
        fault = proxy.add(Fault("DELETE", path, status, times=None, retry_after="7"))
        with refused(stamped.people, BackendUnavailable, "db.identities_left") as error:
            run(astray, stamped.ruler, identities=True)
        assert error.details["deleted"] == deleted
        assert ("try again in 7 s" in error.hint, error.details.get("retry_after")) == (
            (True, 7) if status == 429 else (False, None)
        )
        assert fault.met == (1 if deleted else 3)
        proxy.heal()
        assert run(astray, stamped.ruler, identities=True).identities == 5 - deleted
    assert not any(stamped.there(stamped.created))


def test_no_identity_is_deleted_if_the_rest_would_fail(stamped: Stamped) -> None:
    stamped.people.sql("CREATE TABLE public.t (id uuid REFERENCES bazar.users)")
    stamped.people.sql("INSERT INTO public.t VALUES (%s)", stamped.people.user().id)
    with refused(stamped.people, Conflict, "db.rows_refer"):
        run(stamped.people, stamped.ruler, identities=True)
    assert all(stamped.there(stamped.created))


def test_no_identity_of_a_protected_database_is_deleted(stamped: Stamped) -> None:
    stamped.people.sql("UPDATE bazar.deployment SET protected = true")
    with refused(stamped.people, Refused, "db.protected"):
        run(stamped.people, stamped.ruler, identities=True)
    assert all(stamped.there(stamped.created))
