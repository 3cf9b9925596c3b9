"""The protocol of two systems: which operations it knows, and which calls it leaves out."""

from __future__ import annotations

import uuid

from bazar_cli.domain.entities import Pending
from bazar_cli.domain.users import changes as use_cases
from bazar_cli.domain.users.changes import AdoptUser, DeleteUser
from bazar_cli.services.users import adopt, delete
from bazar_cli.services.users.resume import BY_FIX, DELETION
from tests.support.auth_proxy import auth_proxy
from tests.support.people import People, Someone, an_address


def test_every_pending_change_can_be_resumed() -> None:
    assert BY_FIX.keys() | DELETION.keys() == set(Pending)
    assert BY_FIX.keys().isdisjoint(DELETION)


def test_a_user_without_identity_is_deleted_without_a_call(people: People, ruler: Someone) -> None:
    someone = people.user()
    with auth_proxy(people.target) as proxy, People(proxy.target) as watched:
        watched.run(ruler, delete.delete, use_cases.DELETE, DeleteUser(someone.email, someone.email))
        assert not [asked for asked in proxy.requests if asked.startswith("DELETE")]
        assert proxy.requests
    assert people.row(someone) is None


def test_an_identity_with_the_stamp_is_not_stamped_again(people: People, ruler: Someone) -> None:
    [marker] = people.sql("SELECT id FROM bazar.deployment")
    someone = Someone(uuid.uuid4(), an_address("stamped"))
    people.identity(someone, app_metadata={"bazar": {"deployment": str(marker["id"]), "origin": "created"}})
    with auth_proxy(people.target) as proxy, People(proxy.target) as watched:
        adopted = watched.run(ruler, adopt.adopt, use_cases.ADOPT, AdoptUser(someone.email))
        assert not [asked for asked in proxy.requests if asked.startswith("PUT")]
        assert proxy.requests
    assert adopted.user.pending is None
    row = people.row(someone)
    assert row is not None
    assert (row["pending"], row["lease_owner"], row["origin"]) == (None, None, "created")
