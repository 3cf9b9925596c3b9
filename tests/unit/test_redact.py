"""Secrets out of messages, errors and log lines."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from bazar_cli.domain.errors import NotSignedIn
from bazar_cli.domain.secrets import Secret
from bazar_cli.terminal.options import LogFormat
from bazar_cli.terminal.redact import HIDDEN, Redactor
from bazar_cli.terminal.reports import Reporter
from tests.support.log_file import logging_to_file

ENVIRON = {
    "SUPABASE_KEY": "sb_secret_service",
    "SUPABASE_ANON_KEY": "sb_publishable_anon",
    "SUPERUSER_PASSWORD": "toor-toor",
    "BAZAR_TOKEN": "eyJh.eyJz.c2ln",
    "PGPASSWORD": "libpq-word",
    "DATABASE_URL": "postgresql://bazar:database-word@db:5432/bazar",
    "DATABASE_MIGRATION_URL": "postgresql://bazar:migration-word@db:5432/bazar",
}
WORDS = [
    *("sb_secret_service", "sb_publishable_anon", "toor-toor", "eyJh.eyJz.c2ln", "libpq-word"),
    *("database-word", "migration-word"),
]
AWKWARD = ['quo"ted', "back\\slash", "brand\u00e9", "tab\tbed", "pa ss"]
"""Secrets that JSON, or a terminal, writes in another form."""


@pytest.mark.parametrize("word", WORDS)
def test_secrets_of_the_environment_are_hidden(word: str) -> None:
    assert Redactor(ENVIRON).hide(f"before {word} after {word}") == f"before {HIDDEN} after {HIDDEN}"


def test_what_is_no_secret_stays() -> None:
    text = "the database db:5432/bazar refused bazar at https://p.supabase.co"
    environ = {**ENVIRON, "SUPABASE_URL": "https://p.supabase.co", "SUPERUSER_EMAIL": "root@example.com"}
    assert Redactor(environ).hide(text) == text


def test_the_password_of_an_unknown_connection_string_is_hidden() -> None:
    shown = Redactor({}).hide(f"{ENVIRON['DATABASE_URL']} and https://ada:pw@h/x, mailto:ada:pw@h")
    assert shown == f"postgresql://bazar:{HIDDEN}@db:5432/bazar and https://ada:{HIDDEN}@h/x, mailto:ada:pw@h"


def test_connection_string_keeps_what_helps() -> None:
    shown = Redactor(ENVIRON).hide(f"cannot connect to {ENVIRON['DATABASE_URL']}")
    assert shown == f"cannot connect to postgresql://bazar:{HIDDEN}@db:5432/bazar"


@pytest.mark.parametrize("form", ["p%40ss%2Fword", "p@ss/word"])
def test_password_is_hidden_encoded_and_plain(form: str) -> None:
    redactor = Redactor({"DATABASE_URL": "postgresql://bazar:p%40ss%2Fword@db/bazar"})
    assert redactor.hide(f"refused: {form}") == f"refused: {HIDDEN}"


# libpq takes the password as a parameter too.
@pytest.mark.parametrize("form", ["in%20query", "in query"])
def test_password_among_the_parameters_is_hidden(form: str) -> None:
    redactor = Redactor({"DATABASE_URL": "postgresql://db/bazar?user=bazar&password=in%20query"})
    assert redactor.hide(f"refused: {form}") == f"refused: {HIDDEN}"


def test_broken_connection_string_is_hidden_whole() -> None:
    url = "postgresql://bazar:secret-word@[db/bazar"
    assert Redactor({"DATABASE_URL": url}).hide(f"no URL: {url}") == f"no URL: {HIDDEN}"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://bazar:pa#ss@localhost/bazar",
        "postgresql://bazar:pa/ss@localhost/bazar",
        "postgresql://bazar:pa?ss@localhost/bazar",
        "postgresql:bazar:pass1@localhost/bazar",
        "bazar:pa ss@localhost/bazar",
    ],
)
def test_password_of_a_connection_string_that_can_be_read_in_two_ways_is_hidden(url: str) -> None:
    password = url.rpartition("@")[0].rpartition(":")[2]
    assert Redactor({"DATABASE_URL": url}).hide(f"refused: {password}") == f"refused: {HIDDEN}"


def test_what_is_learned_of_another_source_is_hidden_too() -> None:
    redactor = Redactor({})
    redactor.remember_values(ENVIRON)
    for word in WORDS:
        assert redactor.hide(word) == HIDDEN


def test_secret_is_hidden_without_the_line_break_at_its_end() -> None:
    assert Redactor({"SUPABASE_KEY": "sb_secret_service\n"}).hide(r"b'sb_secret_service\n'") == r"b'***\n'"


@pytest.mark.parametrize("secret", ["HunterSecret", "hunter", "wolf"])
def test_a_secret_of_letters_is_hidden_as_a_whole_word(secret: str) -> None:
    redactor = Redactor({"SUPERUSER_PASSWORD": secret})
    for text in ("refused: {}", "{} is refused", "({})", "the value is {}.", "{}, {}", "x\n{}\ny", "a={}", "'{}'"):
        assert redactor.hide(text.format(secret, secret)) == text.format(HIDDEN, HIDDEN)


def test_a_secret_of_letters_stays_a_part_of_our_words_and_codes() -> None:
    redactor = Redactor({"SUPERUSER_PASSWORD": "user", "SUPABASE_KEY": "busy", "BAZAR_TOKEN": "table"})
    said = "users.busy, user_id, per-user, super-user, bazar.user.busy, users"
    assert redactor.hide(said) == said


@pytest.mark.parametrize("secret", ["postgres", "bazar", "supabase"])
def test_a_name_that_our_texts_have_is_hidden_as_a_value_only(secret: str) -> None:
    redactor = Redactor({"DATABASE_URL": f"postgresql://app:{secret}@db/x"})
    said = f"error: {secret} did not answer"
    assert redactor.hide(said) == said
    assert redactor.hide(f"postgresql://app:{secret}@db/x") == "postgresql://app:***@db/x"
    assert redactor.hide(f"password={secret}, given '{secret}'") == "password=***, given '***'"


def test_secret_that_begins_with_another_is_hidden_whole() -> None:
    redactor = Redactor({})
    redactor.remember("w0rd")
    redactor.remember("w0rd-and-more")
    assert redactor.hide("w0rd-and-more, w0rd") == f"{HIDDEN}, {HIDDEN}"


@pytest.mark.parametrize("value", [None, "", "abc"])
def test_too_short_to_be_a_secret(value: str | None) -> None:
    redactor = Redactor({})
    redactor.remember(value)
    assert redactor.hide("abc, alphabet, a b c") == "abc, alphabet, a b c"


@pytest.mark.parametrize("secret", ["secret-word", *AWKWARD])
@pytest.mark.parametrize("machine", [False, True])
@pytest.mark.parametrize("debug", [False, True])
def test_error_report_hides_a_secret(
    capsys: pytest.CaptureFixture[str], secret: str, machine: bool, debug: bool
) -> None:
    redactor = Redactor({"SUPERUSER_PASSWORD": secret})
    reporter = Reporter("r-1", machine=machine, debug=debug, redactor=redactor)
    error = NotSignedIn("auth.invalid", f"not {secret}", hint=f"try {secret}", details={"given": secret})
    assert reporter.report(error) == 4
    said = capsys.readouterr().err
    assert secret not in said
    if machine:
        told = json.loads(said.splitlines()[-1])["error"]
        assert (told["message"], told["hint"], told["details"]["given"]) == (f"not {HIDDEN}", f"try {HIDDEN}", HIDDEN)
    else:
        assert f"error: not {HIDDEN}\nhint: try {HIDDEN}" in said


@pytest.mark.parametrize("secret", ["secret-word", *AWKWARD])
@pytest.mark.parametrize("log_format", list(LogFormat))
def test_log_line_hides_a_secret(tmp_path: Path, secret: str, log_format: LogFormat) -> None:
    path = tmp_path / "bazar.log"
    with logging_to_file(path, Redactor({"SUPERUSER_PASSWORD": secret}), log_format):
        logging.getLogger("bazar_cli.tests").warning("the word is %s, over", secret)
        logging.getLogger("another.package").error("it failed", exc_info=ValueError(f"not {secret}"))
    said = path.read_text()
    assert f"the word is {HIDDEN}, over" in said
    assert f"ValueError: not {HIDDEN}" in said
    if log_format is LogFormat.JSON:
        assert json.loads(said.splitlines()[-3])["message"] == f"the word is {HIDDEN}, over"


def test_secret_of_digits_leaves_a_log_line_json(tmp_path: Path) -> None:
    path = tmp_path / "bazar.log"
    with logging_to_file(path, Redactor({"SUPERUSER_PASSWORD": "2345"}), LogFormat.JSON):
        logging.getLogger("bazar_cli.tests").info("12345 of 2345", extra={"milliseconds": 123456, "text": "2345"})
    logged = json.loads(path.read_text().splitlines()[1])
    assert (logged["milliseconds"], logged["text"]) == (123456, HIDDEN)
    assert logged["message"] == f"1{HIDDEN} of {HIDDEN}"


def test_secret_shows_itself_to_nobody() -> None:
    secret = Secret("secret-word")
    for text in (repr(secret), str(secret), f"{secret}", f"{secret!r}", f"{[secret]}", "%s" % secret):  # noqa: UP031
        assert "secret-word" not in text
    assert secret.reveal() == "secret-word"
    assert secret == Secret("secret-word") != Secret("another")
    assert len({secret, Secret("secret-word")}) == 1
