"""Values of organizations: names, and the slugs made of them."""

from __future__ import annotations

import unicodedata
import uuid
from collections.abc import Callable
from datetime import datetime, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bazar_cli.adapters.transliteration import in_ascii
from bazar_cli.domain.entities import Organization, Role
from bazar_cli.domain.errors import ExitCode, UsageError
from bazar_cli.domain.orgs import organizations
from bazar_cli.domain.orgs.organizations import (
    PROPOSALS,
    SLUG_MAX,
    Dissolution,
    checked_org_name,
    checked_slug,
    slugs_like,
)

AN_ID = "0190c2f0-7b1a-7c3d-8e4f-5a6b7c8d9e0f"


def slug_of(name: str) -> str:
    """The slug of a name, its letters as the product writes them in ASCII."""
    return organizations.slug_of(name, in_ascii)


def taken(rule: Callable[[str], str], text: str) -> str | None:
    """What the rule makes of a text; None when it refuses the text."""
    try:
        return rule(text)
    except UsageError:
        return None


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Acme", "acme"),
        ("Acme Corp., Ltd.", "acme-corp-ltd"),
        ("  --Acme--  ", "acme"),
        ("Müller & Söhne", "muller-sohne"),
        ("ＦＵＬＬ width", "full-width"),
        ("42", "42"),
        ("李 Trading", "li-trading"),
        ("Łódź Öl & Gas", "lodz-ol-gas"),
        ("Straße", "strasse"),
        ("Москва", "moskva"),
        ("Соль и Рельсы", "sol-i-relsy"),
        ("東京 Labs", "dongjing-labs"),
        ("Αθήνα", "athina"),
        ("한국 회사", "hangug-hoesa"),
        ("हिन्दी", "hindi"),
        ("Cre\u0300me Bru\u0302le\u0301e", "creme-brulee"),
        ("Dvořák’s & Don't", "dvoraks-dont"),
        ("🐴 Horse™ 2️⃣ €", "horse-2"),
        ("x" * 80, "x" * 63),
        ("a" * 62 + " b", "a" * 62),
    ],
)
def test_a_slug_is_made_of_the_names_ascii_letters_and_digits(name: str, slug: str) -> None:
    assert slug_of(name) == slug


@pytest.mark.parametrize("name", ["", "🐴", "❤️ 👍🏽", "™ →", "!!!", "-", AN_ID])
def test_a_name_without_a_slug_asks_for_one(name: str) -> None:
    with pytest.raises(UsageError) as refused:
        slug_of(name)

    assert refused.value.code == "orgs.slug_invalid"
    assert refused.value.message == (
        f"{name!r} looks like an id" if name == AN_ID else f"the name {name!r} gives no slug"
    )
    assert "--slug" in refused.value.hint
    assert refused.value.exit_code is ExitCode.USAGE


@given(st.text(max_size=120))
@settings(deadline=None)
def test_every_slug_that_is_made_follows_the_rule(name: str) -> None:
    slug = taken(slug_of, name)

    if slug is not None:
        assert checked_slug(slug) == slug
        assert slug_of(slug) == slug
        assert 0 < len(slug) <= SLUG_MAX
        assert set(slug) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


@given(st.text(max_size=20), st.sampled_from("abcxyz"))
@settings(deadline=None)
def test_one_ascii_letter_is_enough_for_a_slug(rest: str, letter: str) -> None:
    assert slug_of(letter + rest).startswith(letter)


@given(st.text(max_size=40))
@settings(deadline=None)
def test_a_name_and_the_same_in_capitals_have_one_slug(name: str) -> None:
    ascii_name = "a" + name.encode("ascii", "ignore").decode()

    assert slug_of(ascii_name.upper()) == slug_of(ascii_name.lower())


@pytest.mark.parametrize("slug", ["acme", "x" * 63, "a" * 60 + "-b", AN_ID.replace("-", "")[:31], "a" * 31])
def test_proposed_slugs_are_others_that_follow_the_rule(slug: str) -> None:
    proposed = slugs_like(slug)

    assert [checked_slug(one) for one in proposed] == list(proposed)
    assert len(set(proposed) - {slug}) == len(proposed) > PROPOSALS - 20


def test_proposed_slugs_count_on() -> None:
    assert slugs_like("acme") == tuple(f"acme-{number}" for number in range(2, PROPOSALS + 2))


@pytest.mark.parametrize("slug", ["a", "0", "acme", "acme-2", "a-b-c", "x" * 63])
def test_a_slug_is_taken_as_it_is(slug: str) -> None:
    assert checked_slug(slug) == slug


@pytest.mark.parametrize(
    "slug", ["", "Acme", "acme_corp", "-acme", "acme-", "a--b", "acme corp", "acme\n", "ä", "a/b", "x" * 64]
)
def test_what_breaks_the_rule_is_no_slug(slug: str) -> None:
    with pytest.raises(UsageError) as refused:
        checked_slug(slug)

    assert refused.value.code == "orgs.slug_invalid"


@given(st.uuids())
@settings(deadline=None)
def test_no_slug_can_be_taken_for_an_id(made: uuid.UUID) -> None:
    for text in (str(made), made.hex):
        with pytest.raises(UsageError, match="looks like an id"):
            checked_slug(text)


@pytest.mark.parametrize(
    ("text", "name"), [("  Acme  ", "Acme"), ("Cafe\u0301", "Caf\u00e9"), ("n" * 200, "n" * 200), ("李", "李")]
)
def test_an_organizations_name_is_trimmed_and_composed(text: str, name: str) -> None:
    assert checked_org_name(text) == name


@pytest.mark.parametrize("text", ["", "   ", "a\0b", "a\nb", "\x1b[31m", "a\udcffb", "a\u2028b", "a\u2029b", "n" * 201])
def test_what_is_no_organization_name_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        checked_org_name(text)

    assert refused.value.code == "orgs.name_invalid"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("   ", "'   ' has no visible character"),
        ("\u200b\u200d\ufeff", "has no visible character"),
        ("n" * 10_000, "it has 10000 characters"),
        ("a\nb", "has control characters"),
    ],
)
def test_what_is_wrong_with_an_organizations_name_is_said(text: str, problem: str) -> None:
    with pytest.raises(UsageError) as refused:
        checked_org_name(text)

    assert problem in refused.value.message
    assert len(refused.value.message) < 200


@given(st.text(max_size=230))
@settings(deadline=None)
def test_an_organizations_name_that_is_taken_can_be_given_again(text: str) -> None:
    name = taken(checked_org_name, text)

    if name is not None:
        assert checked_org_name(name) == name
        assert unicodedata.is_normalized("NFC", name)
        assert len(name.splitlines()) == 1


@pytest.mark.parametrize(
    ("roles", "members", "alone", "said"),
    [
        (
            {Role.OWNER: 1, Role.ADMIN: 0, Role.MEMBER: 2},
            3,
            1,
            "ends 3 memberships (owner 1, member 2) and leaves 1 user",
        ),
        ({Role.OWNER: 0}, 1, 2, "ends 1 membership and leaves 2 users"),
    ],
)
def test_what_a_deletion_ends_is_counted(roles: dict[Role, int], members: int, alone: int, said: str) -> None:
    now = datetime.now(timezone.utc)
    acme = Organization(uuid.uuid4(), "acme", "Acme", members, now, now)
    assert Dissolution(acme, roles, alone).described() == f"deleting acme {said} without any organization"
