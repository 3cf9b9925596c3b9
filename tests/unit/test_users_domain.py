"""Values of users: what is taken as an address, a name, a password, a hash."""

from __future__ import annotations

import unicodedata
import uuid
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bazar_cli.devstack.auth.errors import Fault
from bazar_cli.devstack.auth.users import checked_email
from bazar_cli.domain.entities import Pending, Plan, User, UserState
from bazar_cli.domain.errors import ExitCode, UsageError
from bazar_cli.domain.limits import RateLimit, first_limit
from bazar_cli.domain.page import checked_limit
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.users.changes import SuspendedUser, password_lost
from bazar_cli.domain.users.identities import BAN, IdentityRefused, OutcomeUnknown, StoredIdentity, end_of_tokens
from bazar_cli.domain.users.values import (
    check_superuser,
    checked_hash,
    checked_name,
    checked_password,
    checked_reason,
    normalized_email,
)

LOCAL_PART = st.text("abcXYZ019.!#$%&'*+/=?^_`{|}~-", min_size=1, max_size=64)
LABEL = st.from_regex(r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,20}[a-zA-Z0-9])?", fullmatch=True)
DOMAIN = st.lists(LABEL, min_size=1, max_size=4).map(".".join)
ADDRESSES = st.tuples(LOCAL_PART, DOMAIN).map("@".join)
ALMOST_ADDRESSES = st.text("aZ0@. -_+ä\n", max_size=12) | st.text(max_size=20) | ADDRESSES
HASH = "$2b$10$" + "a" * 53


# -- email --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("ada@example.com", "ada@example.com"),
        ("Ada.Lovelace+Bazar@Example.COM", "ada.lovelace+bazar@example.com"),
        ("a@b", "a@b"),
        ("o'neil@example.com", "o'neil@example.com"),
        (f"{'a' * 243}@example.com", f"{'a' * 243}@example.com"),
    ],
)
def test_an_address_is_stored_in_lower_case(text: str, stored: str) -> None:
    assert normalized_email(text) == stored


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "name@example.com"),
        ("ada", "name@example.com"),
        ("ada@", "name@example.com"),
        ("@example.com", "name@example.com"),
        ("ada@@example.com", "name@example.com"),
        ("ada@-example.com", "name@example.com"),
        ("ada@example..com", "name@example.com"),
        ("ada@example.com.", "name@example.com"),
        ("Ada <ada@example.com>", "spaces"),
        (" ada@example.com", "spaces"),
        ("ada@example.com\n", "spaces"),
        ("ada lovelace@example.com", "spaces"),
        ("ada@exämple.com", "in ASCII"),
        ("\u212aelvin@example.com", "in ASCII"),
        (f"{'a' * 244}@example.com", "256 characters, 255 are allowed"),
        (f"ada@{'a' * 64}.com", "name@example.com"),
    ],
)
def test_what_is_no_address_is_refused_with_the_rule(text: str, rule: str) -> None:
    with pytest.raises(UsageError, match=rule) as refused:
        normalized_email(text)

    assert refused.value.code == "users.email_invalid"
    assert refused.value.exit_code is ExitCode.USAGE


def test_a_very_long_address_is_not_repeated_whole() -> None:
    with pytest.raises(UsageError) as refused:
        normalized_email("a" * 5000)

    assert len(refused.value.message) < 200


@given(ADDRESSES)
@settings(deadline=None)
def test_every_wellformed_address_is_taken_and_stays_as_it_is_once_stored(address: str) -> None:
    stored = normalized_email(address)

    assert stored == address.lower()
    assert normalized_email(stored) == stored


@given(ALMOST_ADDRESSES)
@settings(deadline=None)
def test_bazar_takes_the_addresses_that_supabase_takes(text: str) -> None:
    assert taken_by_bazar(text) == taken_by_supabase(text)


def taken_by_bazar(text: str) -> str | None:
    try:
        return normalized_email(text)
    except UsageError:
        return None


def taken_by_supabase(text: str) -> str | None:
    try:
        return checked_email(text)
    except Fault:
        return None


# -- name ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        (None, None),
        ("", None),
        ("   ", None),
        ("  Ada Lovelace ", "Ada Lovelace"),
        ("Jose\u0301", "Jos\u00e9"),
        ("李小龙", "李小龙"),
        ("n" * 200, "n" * 200),
        ("👩\u200d💻", "👩\u200d💻"),
    ],
)
def test_a_name_is_trimmed_and_composed(text: str | None, stored: str | None) -> None:
    assert checked_name(text) == stored


@pytest.mark.parametrize(
    "text",
    [
        "a\0b",
        "a\nb",
        "a\tb",
        "\x1b[31mred",
        "a\x7fb",
        "a\u2028b",
        "a\u2029b",
        "a\u0085b",
        "a\udcffb",
        "n" * 201,
        "\u200b",
    ],
)
def test_a_name_that_would_break_a_terminal_or_a_table_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        checked_name(text)

    assert refused.value.code == "users.name_invalid"


@given(st.text(max_size=230))
@settings(deadline=None)
def test_a_name_that_is_taken_can_be_stored_printed_and_given_again(text: str) -> None:
    try:
        name = checked_name(text)
    except UsageError:
        return
    if name is not None:
        assert 0 < len(name) <= 200
        assert len(name.splitlines()) == 1
        assert name == name.strip()
        assert unicodedata.is_normalized("NFC", name)
        assert name.encode("utf-8").decode("utf-8") == name
    assert checked_name(name) == name


@given(st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=60))
@settings(deadline=None)
def test_every_short_printable_name_is_taken(text: str) -> None:
    assert checked_name(text) == unicodedata.normalize("NFC", text)


# -- password -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["secret", "p" * 72, "ä" * 36, "with space", "tab\there"])
def test_a_password_of_6_to_72_bytes_is_taken_as_it_is(text: str) -> None:
    assert checked_password(Secret(text)).reveal() == text


@pytest.mark.parametrize("text", ["", "short", "p" * 73, "ä" * 37, "nul\0inside"])
def test_a_password_that_supabase_would_not_take_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        checked_password(Secret(text))

    assert refused.value.code == "users.password_invalid"
    assert not text or text not in f"{refused.value.message}{refused.value.hint}{refused.value.details}"


def test_a_nul_in_a_password_is_named() -> None:
    """Also where its length is right: text in UTF-16, as some shells pipe it, has one at every other place."""
    with pytest.raises(UsageError, match="NUL character"):
        checked_password(Secret("password".encode("utf-16-le").decode()))


@pytest.mark.parametrize("text", ["latin1\udce4", "half\ud83d pair"])
def test_a_password_that_is_no_text_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        checked_password(Secret(text))

    assert refused.value.code == "users.password_invalid"


# -- hash ---------------------------------------------------------------------------------------------------


TAKEN = [HASH, HASH.replace("2b", "2a"), HASH.replace("2b", "2y"), *(HASH.replace("10", c) for c in ("04", "15"))]


@pytest.mark.parametrize("text", TAKEN)
def test_a_bcrypt_hash_is_taken(text: str) -> None:
    assert checked_hash(Secret(text)).reveal() == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "secret",
        HASH[:-1],
        HASH + "a",
        HASH + "\n",
        HASH.replace("2b", "2x"),
        HASH.replace("10", "03"),
        HASH.replace("10", "32"),
        HASH.replace("10", "\u0661\u0660"),
        "$argon2id$v=19$m=1048576,t=3,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
        "$argon2id$v=19$m=4294967295,t=21,p=17$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
    ],
)
def test_what_is_no_bcrypt_hash_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        checked_hash(Secret(text))

    assert refused.value.code == "users.password_hash_invalid"
    assert not text or text not in refused.value.message


# -- secrets ------------------------------------------------------------------------------------------------


def test_a_secret_shows_itself_only_when_asked() -> None:
    secret = Secret("hunter22")

    assert secret.reveal() == "hunter22"
    assert "hunter22" not in f"{secret} {secret!r} {[secret]}"
    assert secret == Secret("hunter22")
    assert secret != Secret("hunter23")
    assert secret != "hunter22"


@pytest.mark.parametrize("cost", [0, 3, *range(16, 32), 99])
def test_a_hash_whose_sign_ins_cost_too_much_or_too_little_is_refused_with_the_reason(cost: int) -> None:
    with pytest.raises(UsageError) as refused:
        checked_hash(Secret(HASH.replace("10", f"{cost:02d}")))

    assert refused.value.code == "users.password_hash_invalid"
    assert f"has cost {cost:02d}; 4 to 15 are allowed" in refused.value.message
    assert "each step doubles" in refused.value.message


# -- reasons and the superuser of a target ------------------------------------------------------------------


@pytest.mark.parametrize(("text", "stored"), [(" left ", "left"), ("Cafe\u0301", "Caf\u00e9"), ("x" * 500, "x" * 500)])
def test_a_reason_is_trimmed_and_composed(text: str, stored: str) -> None:
    assert checked_reason(text) == stored


@pytest.mark.parametrize(
    ("text", "rule"),
    [("a\nb", "has control characters"), (" \u200b", "has no visible character"), ("x" * 501, "has 501 characters")],
)
def test_another_reason_is_refused(text: str, rule: str) -> None:
    with pytest.raises(UsageError, match=rule) as refused:
        checked_reason(text)
    assert refused.value.code == "users.reason_invalid"


@pytest.mark.parametrize(
    ("email", "password", "code", "variable"),
    [
        ("nope", "long enough", "users.email_invalid", "SUPERUSER_EMAIL"),
        ("a@b", "short", "users.password_invalid", "SUPERUSER_PASSWORD"),
        ("a@b", "'long enough'", "users.password_invalid", "SUPERUSER_PASSWORD"),
    ],
)
def test_a_superuser_that_supabase_would_not_take_is_refused(
    email: str, password: str, code: str, variable: str
) -> None:
    with pytest.raises(UsageError) as refused:
        check_superuser(email, Secret(password))
    assert refused.value.code == code
    assert refused.value.message.startswith(f"{variable}: ")
    assert variable in refused.value.hint


def test_a_superuser_that_supabase_would_take_is_taken() -> None:
    check_superuser("a@b", Secret("long enough "))
    check_superuser(None, None)


# -- identities ---------------------------------------------------------------------------------------------

NOW = datetime(2026, 1, 1, 12, 0, 0, 999_999, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("until", "banned", "for_good"),
    [
        (None, False, False),
        (NOW, False, False),
        (NOW + timedelta(days=1), True, False),
        (NOW + BAN / 2, True, False),
        (NOW + BAN / 2 + timedelta(seconds=1), True, True),
    ],
)
def test_a_ban_ends_or_is_as_long_as_bazars(until: datetime | None, banned: bool, for_good: bool) -> None:
    identity = StoredIdentity(uuid.uuid4(), "a@b", None, has_signed_in=True, banned_until=until)
    assert (identity.is_banned(NOW), identity.is_banned_for_good(NOW)) == (banned, for_good)


def test_tokens_end_at_whole_seconds() -> None:
    assert end_of_tokens(NOW, timedelta(minutes=5)) == datetime(2026, 1, 1, 12, 5, 1, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("status", "code", "not_found", "of_key"),
    [
        (404, "user_not_found", True, False),
        (404, None, False, False),
        (400, "user_not_found", False, False),
        (401, None, False, True),
        (403, None, False, True),
    ],
)
def test_a_refusal_is_of_a_missing_identity_or_of_the_key(
    status: int, code: str | None, not_found: bool, of_key: bool
) -> None:
    refusal = IdentityRefused(status, code, "no", page=True)
    assert (refusal.not_found, refusal.of_key) == (not_found, of_key)
    assert (str(refusal), refusal.message, refusal.code, refusal.page) == ("no", "no", code, True)


def test_an_unknown_outcome_may_be_a_rate_limit() -> None:
    assert OutcomeUnknown("away", status=503, retry_after=7).limit is None
    limited = OutcomeUnknown("away", status=429, retry_after=7)
    assert (str(limited), limited.limit) == ("away", RateLimit(7))


def test_of_two_limits_the_one_that_says_when_comes_first() -> None:
    assert first_limit(None, None) is None
    assert first_limit(None, RateLimit(), RateLimit(7), RateLimit(8)) == RateLimit(7)
    assert first_limit(RateLimit(), None) == RateLimit()


@pytest.mark.parametrize(
    ("changed", "has_identity", "ended", "issued", "keeps"),
    [
        (True, True, None, True, True),
        (False, True, None, True, False),
        (True, False, None, True, False),
        (True, True, 0, True, False),
        (True, True, None, False, False),
    ],
)
def test_sessions_that_could_not_be_ended_are_kept(
    changed: bool, has_identity: bool, ended: int | None, issued: bool, keeps: bool
) -> None:
    found = SuspendedUser(ADA, changed, has_identity, ended, issued)
    assert found.keeps_sessions is keeps


# -- users --------------------------------------------------------------------------------------------------

ADA = User(uuid.uuid4(), "a@b", None, Plan.PREMIUM, UserState.ACTIVE, None, True, (), NOW, NOW)


@pytest.mark.parametrize(
    ("plan", "state", "pending", "superuser", "active", "counts"),
    [
        (Plan.PREMIUM, UserState.ACTIVE, None, True, True, True),
        (Plan.PREMIUM, UserState.ACTIVE, Pending.EMAIL, True, True, True),
        (Plan.PREMIUM, UserState.ACTIVE, Pending.DELETE, True, False, False),
        (Plan.PREMIUM, UserState.SUSPENDED, None, True, False, False),
        (Plan.PLUS, UserState.ACTIVE, None, True, True, False),
        (Plan.PREMIUM, UserState.ACTIVE, None, False, True, False),
    ],
)
def test_a_system_keeps_an_active_superuser_on_premium(
    plan: Plan, state: UserState, pending: Pending | None, superuser: bool, active: bool, counts: bool
) -> None:
    user = User(ADA.id, "a@b", None, plan, state, pending, superuser, (), NOW, NOW)
    assert (user.is_active, user.is_active_superuser) == (active, counts)


def test_a_lost_password_is_told_with_the_way_out() -> None:
    lost = password_lost(ADA)
    assert (lost.code, lost.details) == ("output.unwritable", {"user_id": str(ADA.id), "email": "a@b"})
    assert "`bazar users delete a@b --confirm a@b`" in lost.hint


@pytest.mark.parametrize("limit", [1, 1000])
def test_a_page_has_up_to_a_thousand_items(limit: int) -> None:
    assert checked_limit(limit) == limit


@pytest.mark.parametrize("limit", [-1, 0, 1001])
def test_another_size_of_a_page_is_refused(limit: int) -> None:
    with pytest.raises(UsageError) as refused:
        checked_limit(limit)
    assert refused.value.code == "list.limit_invalid"
