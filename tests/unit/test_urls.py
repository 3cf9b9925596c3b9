"""URLs: what of one is shown, what of it is a secret, and which rule an unreadable one breaks."""

from __future__ import annotations

import pytest

from bazar_cli.domain.surplus import surplus
from bazar_cli.domain.urls import bad_host, bad_port, broken_rule, secrets_of, taken_apart, without_secrets

FORM = "postgresql://USER:PASSWORD@HOST/DB"
ENCODED = "must be percent-encoded"
LOOKS = f"it must look like {FORM}"
UNREADABLE = f"its host or port cannot be read; {LOOKS}"
LABEL = "a" * 63


@pytest.mark.parametrize(
    ("url", "shown", "secrets"),
    [
        ("", "", []),
        ("https://x.supabase.co/auth", "https://x.supabase.co/auth", []),
        ("https://u:p@h", "https://***:***@h", ["u", "p"]),
        ("https://k@h/x?apikey=s&b", "https://***@h/x?***&***", ["k", "apikey=s", "b", "s"]),
        ("http://h?", "http://h?***", []),
        ("postgresql://u:p@h:5432,i/x?a=b&sslPassword=s&c", None, ["p", "s"]),
        ("postgresql://u@h/x?", "postgresql://u@h/x?", []),
        ("postgresql://u@h/x?a=token", "postgresql://u@h/x?a=token", []),
        ("postgresql://:@h", "postgresql://:***@h", []),
        ("postgresql:///x?passfile=f&oauth_client_secret=s&token=t", None, ["s", "t"]),
        ("postgres://u:p@h\u200b/x", "***", ["postgres://u:p@h\u200b/x", "p"]),
        ("postgresql://u:a#b?c@h/x", "***", ["postgresql://u:a#b?c@h/x", "a#b?c", "b", "c@h/x"]),
        ("postgresql:u:p@h", "***", ["postgresql:u:p@h", "p"]),
        ("u:p@h@i", "***", ["u:p@h@i", "p@h"]),
        ("https://h?a=1#b", "***", ["https://h?a=1#b", "a=1", "b"]),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str | None, secrets: list[str]) -> None:
    if shown is None:
        shown = url.replace(":p@", ":***@").replace("=s", "=***").replace("=t", "=***")
    assert without_secrets(url) == shown
    assert [found for found in secrets_of(url) if found] == secrets


@pytest.mark.parametrize(
    ("hosts", "host"), [("h", "h"), ("h:5432", "h"), ("[::1]", "::1"), ("[::1]:5432", "::1"), ("", "")]
)
def test_a_host_has_no_port_and_no_brackets(hosts: str, host: str) -> None:
    found = taken_apart(f"postgresql://u:p@{hosts}/x")
    assert found is not None
    assert found.host == host


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        (" postgresql://h", "it begins with white space or an invisible character"),
        ("URL=postgresql://h", "it begins with URL="),
        ("postgresql+psycopg://u:p@h", "its scheme names a driver (+psycopg), which bazar does not use"),
        ("postgres:/h", LOOKS),
        ("postgresql://u:p@h/\ta", "it must hold no space, no line break and no control character"),
        ("postgresql://u:p@h/\u200ba", "it must hold no space, no line break and no control character"),
        ("postgresql://u:a#b@h", ENCODED),
        ("postgresql://u:a@b@h", ENCODED),
        ("postgresql://u:a/b@h", ENCODED),
        ("postgresql://u:a?b@h", ENCODED),
        ("postgresql://h:x/a", UNREADABLE),
        ("postgresql://u:p@h:x/a?b", UNREADABLE),
    ],
)
def test_an_unreadable_url_breaks_one_rule(url: str, rule: str) -> None:
    assert rule in broken_rule(url, FORM)


@pytest.mark.parametrize(
    "host", ["h", "a.", "_x", "a-b", LABEL, f"{LABEL}.{LABEL}.{LABEL}.{'b' * 61}", "1.2.3.4", "::1", "fe80::1%eth0"]
)
def test_a_host_is_a_name_or_an_address(host: str) -> None:
    assert bad_host(host) == ""


@pytest.mark.parametrize(
    "host",
    ["", ".", "a..b", "x-", "-x", "a:b", "fe80%::1", f"{LABEL}a", f"{LABEL}.{LABEL}.{LABEL}.{'b' * 62}", "a.."],
)
def test_another_text_is_not_a_host(host: str) -> None:
    assert bad_host(host).startswith(f"its host {host[:80]!r} is not a valid host name")


@pytest.mark.parametrize("port", ["", "1", "65535"])
def test_a_port_is_a_number_or_missing(port: str) -> None:
    assert bad_port(port) == ""


@pytest.mark.parametrize("port", ["0", "65536", "x", "1_0", "\u0663"])
def test_another_number_is_not_a_port(port: str) -> None:
    assert bad_port(port) == "its port is not one of 1 to 65535"


@pytest.mark.parametrize(
    ("value", "any_character", "what"),
    [
        ("", False, None),
        ('"', False, None),
        ("a", False, None),
        ('"a"', False, "it begins and ends with quotes, which count as part of it"),
        ('""', False, "it begins and ends with quotes, which count as part of it"),
        ('"a', False, "it begins with a quote, which counts as part of it"),
        ("a'", False, "it ends with a quote, which counts as part of it"),
        ('"a', True, None),
        ('"a"', True, "it begins and ends with quotes, which count as part of it"),
        ("\na", True, "it begins with a line break"),
        ("a\r", True, "it ends with a line break"),
        (" a", False, "it begins with white space or an invisible character"),
        (" a", True, None),
        ("export  NAME =a", False, "it begins with NAME="),
        ("NAME=a", True, None),
    ],
)
def test_characters_around_a_value_are_named(value: str, any_character: bool, what: str | None) -> None:
    found = surplus("NAME", value, any_character=any_character)
    assert (found and found.what) == what
    assert found is None or "NAME" in found.remedy
