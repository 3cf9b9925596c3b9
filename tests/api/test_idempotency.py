"""Requests with an Idempotency-Key: done once, with the same answer again."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

from tests.support.api_server import Api, Reply
from tests.support.people import People, Someone, an_address, an_org

_ROW = "SELECT * FROM bazar.idempotency_keys WHERE key = %s"


def create(api: Api, key: str, path: str = "/users/", **fields: object) -> Reply:
    """Create something with a key."""
    return api.ask("POST", path, fields, headers={"Idempotency-Key": key})


def a_key() -> str:
    """Make a key that no other test uses."""
    return secrets.token_hex(8)


def events(people: People, target: str) -> list[str]:
    """Return the use cases of the events about a target."""
    return [event["use_case"] for event in people.events(UUID(target))]


def test_repeated_request_has_the_same_answer_and_no_second_effect(api: Api, people: People) -> None:
    key, email = a_key(), an_address()
    first = create(api, key, email=email, name="Ada")
    api.ask("PATCH", f"/users/{first.json['id']}", {"name": "Another"})
    again = create(api, f'"{key}"', email=email, name="Ada")
    assert (again.status, again.json) == (first.status, first.json)
    assert (again.headers["Location"], again.headers["ETag"]) == (first.headers["Location"], first.headers["ETag"])
    assert events(people, first.json["id"]) == ["users.create", "users.update"]


def test_generated_password_is_in_the_first_answer_only(api: Api, people: People) -> None:
    key, email = a_key(), an_address()
    first = create(api, key, email=email, generate_password=True)
    password = first.json["password"]
    assert people.signs_in(email, password)
    assert create(api, key, email=email, generate_password=True).json == {**first.json, "password": None}
    (row,) = people.sql(_ROW, key)
    assert password not in str(row)


def test_key_of_another_request_is_refused(api: Api, people: People) -> None:
    key, email = a_key(), an_address()
    create(api, key, email=email, password="Correct-horse-1")
    others = (
        create(api, key, email=email, password="Correct-horse-2"),
        create(api, key, email=an_address()),
        create(api, key, "/organizations/", name=f"Org {an_org().id}"),
    )
    for reply in others:
        assert (reply.status, reply.code) == (422, "idempotency.other_request")
    (row,) = people.sql(_ROW, key)
    assert "Correct-horse" not in str(row)


def test_key_belongs_to_its_operator(api: Api, people: People) -> None:
    key, other = a_key(), api.by(people.access_token(people.known_superuser()))
    first, second = create(api, key, email=an_address()), create(other, key, email=an_address())
    assert (first.status, second.status) == (201, 201)
    assert first.json["id"] != second.json["id"]


def test_of_requests_at_once_one_creates_the_user(api: Api, people: People) -> None:
    key, email = a_key(), an_address()
    with ThreadPoolExecutor(4) as pool:
        replies = [one.result() for one in [pool.submit(create, api, key, email=email) for _ in range(4)]]
    done = [reply.json for reply in replies if reply.status == 201]
    assert done
    assert done == [done[0]] * len(done)
    for reply in replies:
        if reply.status != 201:
            assert (reply.status, reply.code, reply.headers["Retry-After"]) == (409, "idempotency.running", "2")
    assert events(people, done[0]["id"]) == ["users.create"]


def test_request_in_hand_is_not_begun_again(api: Api, people: People) -> None:
    key, email = a_key(), an_address()
    made = create(api, key, email=email)
    people.sql("UPDATE bazar.idempotency_keys SET answer = NULL WHERE key = %s", key)
    assert create(api, key, email=email).code == "idempotency.running"
    # Its process ended: the answer is that of the user who was created.
    people.sql("UPDATE bazar.idempotency_keys SET running_until = now() WHERE key = %s", key)
    again = create(api, key, email=email)
    assert (again.status, again.json["id"], again.json["created"]) == (201, made.json["id"], True)
    assert create(api, key, email=email).json == again.json


def test_user_whose_creation_was_cut_is_finished_by_the_same_request(api: Api, people: People) -> None:
    key, email = a_key(), an_address()
    made = create(api, key, email=email)
    # As a process leaves it that was killed between the intent and Supabase.
    people.auth("DELETE", f"/admin/users/{made.json['id']}").raise_for_status()
    people.sql("UPDATE bazar.users SET pending = 'create' WHERE id = %s", UUID(made.json["id"]))
    people.sql("UPDATE bazar.idempotency_keys SET answer = NULL, running_until = now() WHERE key = %s", key)
    again = create(api, key, email=email)
    assert (again.status, again.json["id"]) == (201, made.json["id"])
    assert len(people.identities(email)) == 1


def test_refused_request_keeps_no_key(api: Api, people: People) -> None:
    key, email = a_key(), an_address()
    taken = Someone(UUID(int=0), an_address())
    assert create(api, key, email=email, organization=taken.email).code == "orgs.not_found"
    assert people.sql(_ROW, key) == []
    assert create(api, key, email=email).status == 201


def test_dry_run_keeps_no_key(api: Api, people: People) -> None:
    key = a_key()
    assert create(api, key, "/users/?dry_run=true", email=an_address()).status == 200
    assert people.sql(_ROW, key) == []


def test_key_is_free_again_after_a_day(api: Api, people: People) -> None:
    key = a_key()
    create(api, key, email=an_address())
    people.sql("UPDATE bazar.idempotency_keys SET created_at = now() - interval '25 hours' WHERE key = %s", key)
    assert create(api, key, email=an_address()).status == 201
    (row,) = people.sql(_ROW, key)
    assert len(row["request_ids"]) == 1


def test_organization_and_member_are_created_once(api: Api, people: People) -> None:
    key, name, user = a_key(), f"Org {an_org().id}", people.known_user()
    first = create(api, key, "/organizations/", name=name)
    people.sql("UPDATE bazar.idempotency_keys SET answer = NULL, running_until = now() WHERE key = %s", key)
    assert create(api, key, "/organizations/", name=name).json["id"] == first.json["id"]
    key, members = a_key(), f"/organizations/{first.json['slug']}/members"
    added = create(api, key, members, user=user.email)
    assert (added.status, create(api, key, members, user=user.email).json) == (201, added.json)
