"""`bazar orgs create`: who owns it, how its slug is made, and who may."""

from __future__ import annotations

import re
import secrets
import shlex
import uuid
from collections.abc import Callable

import pytest

from bazar_cli.domain.entities import Pending, Plan, UserState
from tests.support.cli import Bazar
from tests.support.people import People, Someone

pytestmark = pytest.mark.live

AsUser = Callable[[Someone], Bazar]


@pytest.fixture
def word() -> str:
    """A word that no other test's organization has in its slug."""
    return secrets.token_hex(5)


@pytest.fixture
def founder(people: People) -> Someone:
    """Somebody on Premium in no organization, who is no superuser."""
    return people.user(plan=Plan.PREMIUM)


def owners(people: People, slug: str) -> list[tuple[str, str]]:
    """The ids and roles of an organization's members; none where there is no such organization."""
    rows = people.sql(
        "SELECT m.user_id, m.role FROM bazar.memberships m JOIN bazar.organizations o ON o.id = m.organization_id"
        " WHERE o.slug = %s",
        slug,
    )
    return [(str(row["user_id"]), row["role"]) for row in rows]


def exists(people: People, slug: str) -> bool:
    return bool(people.sql("SELECT 1 FROM bazar.organizations WHERE slug = %s", slug))


def test_operator_becomes_the_owner(as_user: AsUser, people: People, founder: Someone, word: str) -> None:
    bazar = as_user(founder)
    done = bazar("orgs", "create", f"Acme {word} Inc.", "-o", "json").ok()
    made = done.json
    assert list(made) == ["id", "slug", "name", "members", "created_at", "updated_at"]
    assert (made["slug"], made["name"], made["members"]) == (f"acme-{word}-inc", f"Acme {word} Inc.", 1)
    assert done.err == ""
    assert owners(people, made["slug"]) == [(str(founder.id), "owner")]
    (event,) = people.events(uuid.UUID(made["id"]))
    assert (event["use_case"], event["operator_id"]) == ("orgs.create", founder.id)
    assert bazar("orgs", "get", made["slug"], "-o", "json").ok().json == made


def test_superuser_names_another_owner(admin: Bazar, people: People, word: str) -> None:
    owner = people.user()
    org_id = admin("orgs", "create", f"For {word}", "--owner", owner.email.upper(), "-o", "ids").ok().out.strip()
    assert str(uuid.UUID(org_id)) == org_id
    assert owners(people, f"for-{word}") == [(str(owner.id), "owner")]


def test_only_superusers_name_an_owner(as_user: AsUser, people: People, founder: Someone, word: str) -> None:
    done = as_user(founder)("orgs", "create", f"For {word}", "--owner", people.user().email, "-o", "json")
    assert (done.code, done.out, done.error["code"]) == (5, "", "access.platform")
    assert not exists(people, f"for-{word}")
    (event,) = people.sql("SELECT use_case, outcome FROM bazar.audit_events WHERE operator_id = %s", founder.id)
    assert (event["use_case"], event["outcome"]) == ("orgs.create", "denied")


def test_owner_must_be_a_user_at_rest(admin: Bazar, people: People, word: str) -> None:
    unknown = admin("orgs", "create", f"For {word}", "--owner", "nobody.at.all@example.com", "-o", "json")
    assert (unknown.code, unknown.error["code"]) == (3, "users.not_found")
    leaving = people.user(pending=Pending.DELETE)
    busy = admin("orgs", "create", f"For {word}", "--owner", leaving.email, "-o", "json")
    assert (busy.code, busy.error["code"]) == (6, "users.pending")
    assert not exists(people, f"for-{word}")


def test_free_operator_is_denied_by_plan(as_user: AsUser, people: People, word: str) -> None:
    operator = people.user(plan=Plan.FREE)
    done = as_user(operator)("orgs", "create", f"Acme {word}")
    assert (done.code, done.out) == (5, "")
    assert "orgs:create" in done.err
    assert "Premium has it" in done.err
    assert not exists(people, f"acme-{word}")
    assert len(people.sql("SELECT 1 FROM bazar.audit_events WHERE operator_id = %s", operator.id)) == 1


def test_nobody_signed_in(signed_out: Bazar, people: People, word: str) -> None:
    done = signed_out("orgs", "create", f"Acme {word}", "-o", "json")
    assert (done.code, done.error["code"]) == (4, "auth.not_signed_in")
    assert "bazar auth login" in done.error["hint"]


def test_unicode_names_are_composed_and_give_ascii_slugs(admin: Bazar, people: People, word: str) -> None:
    decomposed = f"  Cre\u0300me Bru\u0302le\u0301e {word}  "
    made = admin("orgs", "create", decomposed, "-o", "json").ok().json
    assert (made["name"], made["slug"]) == (f"Crème Brûlée {word}", f"creme-brulee-{word}")
    assert admin("orgs", "create", f"Łódź Öl & Gas {word}", "-o", "json").ok().json["slug"] == f"lodz-ol-gas-{word}"
    nothing_left = admin("orgs", "create", "🏢!", "-o", "json")
    assert (nothing_left.code, nothing_left.error["code"]) == (2, "orgs.slug_invalid")
    assert "--slug" in nothing_left.error["hint"]
    named = admin("orgs", "create", "株式会社 🏢", "--slug", f"kk-{word}").ok()
    assert "株式会社 🏢" in named.out


def test_long_name_gives_a_slug_of_legal_length(admin: Bazar, word: str) -> None:
    made = admin("orgs", "create", f"{word} {'x ' * 94}", "-o", "json").ok().json
    assert len(made["slug"]) <= 63
    assert made["slug"].startswith(f"{word}-x-x")
    assert not made["slug"].endswith("-")


def test_taken_slug(admin: Bazar, people: People) -> None:
    org = people.org()
    for words in (("Other", "--slug", org.slug), (org.slug.upper(),)):
        done = admin("orgs", "create", *words, "-o", "json")
        assert (done.code, done.out, done.error["code"]) == (6, "", "orgs.slug_exists")
        assert done.error["details"] == {"slug": org.slug, "free": f"{org.slug}-2"}
    assert owners(people, org.slug) == []


def test_hint_of_a_taken_slug_is_a_command_that_works(admin: Bazar, people: People) -> None:
    org, owner = people.org(), people.user()
    words = ("orgs", "create", "Rock 'n' Roll", "--slug", org.slug, "--owner", owner.email, "-o", "json")
    hint = admin(*words).error["hint"]
    command = re.search("`bazar (.*)`", hint)
    assert command is not None
    made = admin(*shlex.split(command[1]), "-o", "json").ok().json
    assert (made["slug"], made["name"]) == (f"{org.slug}-2", "Rock 'n' Roll")
    assert owners(people, made["slug"]) == [(str(owner.id), "owner")]
    assert admin(*words).error["details"]["free"] == f"{org.slug}-3"


BAD = {
    "capitals": ("Fine", "Bad", "orgs.slug_invalid"),
    "space": ("Fine", "a b", "orgs.slug_invalid"),
    "hyphen first": ("Fine", "-a", "orgs.slug_invalid"),
    "two hyphens": ("Fine", "a--b", "orgs.slug_invalid"),
    "line break": ("Fine", "a\n", "orgs.slug_invalid"),
    "unicode": ("Fine", "ä", "orgs.slug_invalid"),
    "empty slug": ("Fine", "", "orgs.slug_invalid"),
    "64 characters": ("Fine", "a" * 64, "orgs.slug_invalid"),
    "like an id": ("Fine", "8c6a1d5e-5d0a-4c52-8b0e-0a4f2f8a9a10", "orgs.slug_invalid"),
    "empty name": ("", "fine", "orgs.name_invalid"),
    "blank name": (" \t ", "fine", "orgs.name_invalid"),
    "201 characters": ("n" * 201, "fine", "orgs.name_invalid"),
    "10,000 characters": ("n" * 10_000, "fine", "orgs.name_invalid"),
    "escape sequence": ("a\x1b[2Jb", "fine", "orgs.name_invalid"),
    "C1 character": ("a\x9bb", "fine", "orgs.name_invalid"),
    "inner line break": ("a\nb", "fine", "orgs.name_invalid"),
    "line separator": ("a\u2028b", "fine", "orgs.name_invalid"),
    "bytes that are no text": ("a\udcffb", "fine", "usage.encoding"),
}


def test_bad_value_names_the_rule_and_writes_nothing(as_user: AsUser, people: People, founder: Someone) -> None:
    bazar = as_user(founder)
    for what, (name, slug, code) in BAD.items():
        done = bazar("orgs", "create", name, f"--slug={slug}", "-o", "json")
        assert (done.code, done.out) == (2, ""), what
        assert done.error["code"] == code, what
        assert done.error["hint"], what
        assert len(done.err) < 500, what
        assert "\x1b" not in done.err, what
    assert people.sql("SELECT 1 FROM bazar.memberships WHERE user_id = %s", founder.id) == []
    assert people.sql("SELECT 1 FROM bazar.audit_events WHERE operator_id = %s", founder.id) == []


def test_missing_name_is_a_usage_error(admin: Bazar) -> None:
    done = admin("orgs", "create", "-o", "json")
    assert (done.code, done.error["code"]) == (2, "usage.missing")
    assert "bazar orgs create --help" in done.error["hint"]


def test_dry_run_shows_it_and_writes_nothing(as_user: AsUser, people: People, founder: Someone, word: str) -> None:
    bazar = as_user(founder)
    done = bazar("orgs", "create", f"Dry {word}", "--dry-run", "-o", "json").ok()
    # The real one gets another id than the one that this chose.
    assert (done.json["id"], done.json["slug"], done.json["members"]) == (None, f"dry-{word}", 1)
    assert "nothing was written" in done.err
    assert not exists(people, f"dry-{word}")
    assert people.sql("SELECT 1 FROM bazar.audit_events WHERE operator_id = %s", founder.id) == []
    assert bazar("orgs", "create", "Other", "--slug", people.org().slug, "-n").code == 6


def test_suspended_user_becomes_no_owner(admin: Bazar, people: People, word: str) -> None:
    suspended = people.user(state=UserState.SUSPENDED)
    done = admin("orgs", "create", f"For {word}", "--owner", suspended.email, "-o", "json")
    assert done.code == 6
    assert not exists(people, f"for-{word}")
