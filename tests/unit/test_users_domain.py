"""Values of users: what is taken as an address, a name, a password, a hash."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bazar_cli.devstack.auth.errors import Fault
from bazar_cli.devstack.auth.users import checked_email
from bazar_cli.domain.errors import ExitCode, UsageError
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.users.users import checked_hash, checked_name, checked_password, normalized_email

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
