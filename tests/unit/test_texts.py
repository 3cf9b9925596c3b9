"""Text as it comes in: the same whatever program wrote it, and passwords as they were typed."""

from __future__ import annotations

import io
import os
import re
import sys
import unicodedata
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bazar_cli.adapters.config.profiles import Profiles
from bazar_cli.adapters.config.target import TargetChoice, resolve_target
from bazar_cli.adapters.migrations.revision_files import checksum, checksum_of, is_checksum_of, paths, script_location
from bazar_cli.domain.errors import UsageError
from bazar_cli.domain.target import Target
from bazar_cli.domain.texts import (
    BYTE_ORDER_MARK,
    composed,
    counted,
    environment,
    from_json,
    nonempty_text,
    normalized,
    password,
    whole_number,
)
from bazar_cli.domain.urls import bad_port
from bazar_cli.terminal.options import Options
from bazar_cli.terminal.prompt import Prompter, secret_from_stdin
from bazar_cli.terminal.tables import key_values
from bazar_cli.terminal.width import columns
from tests.support.tree import VARIABLES

DECOMPOSED, COMPOSED = "Zoe\u0308", "Zo\u00eb"
REVISIONS = sorted(paths(script_location()).values())
AS_IT_IS = {
    *("BAZAR_CONFIG_DIR", "BAZAR_DATA_DIR", "BAZAR_NO_INPUT", "BAZAR_DEBUG", "BAZAR_ACCESSIBLE", "NO_COLOR"),
    *("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_*", "TRACEPARENT, TRACESTATE", "PYTHON_KEYRING_BACKEND", "COLUMNS", "TERM"),
    *("CLICOLOR_FORCE", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "HTTPS_PROXY", "NO_PROXY"),
}
"""Paths, whose bytes name a file, switches, and what OpenTelemetry and other programs define."""


READABLE = os.open(os.devnull, os.O_RDONLY)


class Stream:
    """Standard input that holds these bytes."""

    def __init__(self, content: bytes) -> None:
        self.buffer = io.BytesIO(content)

    def fileno(self) -> int:
        return READABLE

    def isatty(self) -> bool:
        return True


@settings(deadline=None)
@given(st.text())
def test_a_normalized_text_is_composed_has_one_kind_of_line_end_and_stays_so(text: str) -> None:
    found = normalized(text)

    assert normalized(found) == found or text.startswith(BYTE_ORDER_MARK * 2)
    assert unicodedata.is_normalized("NFC", found)
    assert "\r" not in found
    assert normalized(unicodedata.normalize("NFD", text)) == found
    assert normalized(f"{BYTE_ORDER_MARK}{text}") == found or text.startswith(BYTE_ORDER_MARK)


@settings(deadline=None)
@given(st.text())
def test_of_a_password_only_the_mark_and_one_line_end_are_taken(text: str) -> None:
    typed = text.replace("\n", "").removeprefix(BYTE_ORDER_MARK).removesuffix("\r")

    for end in ("\n", "\r\n", ""):
        assert password(f"{typed}{end}") == typed
        assert password(f"{BYTE_ORDER_MARK}{typed}{end}") == typed
    assert password(f" {typed} ") == f" {typed} "


# -- standard input and prompts -----------------------------------------------------------------------------


@pytest.mark.parametrize("mark", ["", BYTE_ORDER_MARK])
@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\nanother line"])
@pytest.mark.parametrize(
    "typed", [DECOMPOSED, COMPOSED, " with spaces\t", "holds a\rline end", "\u212bngstr\u00f6m", "\u00a0"]
)
def test_a_password_of_a_pipe_is_taken_as_it_was_typed(
    monkeypatch: pytest.MonkeyPatch, typed: str, end: str, mark: str
) -> None:
    monkeypatch.setattr(sys, "stdin", Stream(f"{mark}{typed}{end}".encode()))

    assert secret_from_stdin("password").reveal() == typed


@pytest.mark.parametrize("typed", [DECOMPOSED, " with spaces "])
def test_a_password_typed_at_a_prompt_is_taken_as_it_was_typed(monkeypatch: pytest.MonkeyPatch, typed: str) -> None:
    monkeypatch.setattr("getpass.getpass", lambda *_words, **_options: typed)  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]

    assert a_prompter(monkeypatch, b"").secret("Password", option="--password-stdin", twice=True).reveal() == typed


@pytest.mark.parametrize(
    ("failure", "code"),
    [(EOFError(), "input.empty"), (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), "input.encoding")],
)
def test_a_password_that_cannot_be_read_is_refused(
    monkeypatch: pytest.MonkeyPatch, failure: Exception, code: str
) -> None:
    def fail(*_words: object, **_options: object) -> str:
        raise failure

    monkeypatch.setattr("getpass.getpass", fail)

    with pytest.raises(UsageError) as refused:
        a_prompter(monkeypatch, b"").secret("Password", option="--password-stdin")

    assert refused.value.code == code


@pytest.mark.parametrize("typed", [f" {DECOMPOSED} \r\n", f"{BYTE_ORDER_MARK}{COMPOSED}\n", f"{COMPOSED}"])
def test_an_answer_is_text(monkeypatch: pytest.MonkeyPatch, typed: str) -> None:
    given = typed.encode()

    assert a_prompter(monkeypatch, given).text("Email", option="--email") == COMPOSED
    assert a_prompter(monkeypatch, given).word("Type the name") == COMPOSED


@pytest.mark.parametrize(("typed", "code"), [(b"\xff\n", "input.encoding"), (b"x" * 70_000, "input.too_long")])
def test_an_answer_that_is_no_text_is_refused(monkeypatch: pytest.MonkeyPatch, typed: bytes, code: str) -> None:
    asks: tuple[Callable[[Prompter], object], ...] = (
        lambda prompter: prompter.text("Email", option="--email"),
        lambda prompter: prompter.word("Type the name"),
        lambda prompter: prompter.yes("Really?"),
    )
    for ask in asks:
        with pytest.raises(UsageError) as refused:
            ask(a_prompter(monkeypatch, typed))
        assert refused.value.code == code


def a_prompter(monkeypatch: pytest.MonkeyPatch, content: bytes) -> Prompter:
    monkeypatch.setattr(sys, "stdin", Stream(content))
    return Prompter({}, no_input=Options().no_input)


# -- environment, env files, profiles -----------------------------------------------------------------------


@pytest.mark.parametrize("name", VARIABLES)
def test_every_variable_is_a_text_a_password_a_credential_or_taken_as_it_is(name: str) -> None:
    given = f"{BYTE_ORDER_MARK}{DECOMPOSED}\r\n"
    secret = name.endswith(("_PASSWORD", "_KEY", "_TOKEN", "_URL"))

    found = environment({name: given})[name]

    if name in AS_IT_IS:
        assert found == given
    elif name.endswith("_PASSWORD"):
        assert found == DECOMPOSED
    else:
        assert found == (f"{DECOMPOSED}\r\n" if secret else f"{COMPOSED}\n")


def test_variables_of_other_programs_are_taken_as_they_are() -> None:
    given = {"PATH": f"{BYTE_ORDER_MARK}{DECOMPOSED}\r\n"}

    assert environment(given) == given


def test_an_env_file_may_begin_with_a_mark_and_end_its_lines_in_any_way(tmp_path: Path) -> None:
    lines = [
        "SUPABASE_URL=https://x.supabase.co",
        "SUPABASE_KEY=key",
        "DATABASE_URL=postgresql://localhost/bazar",
        f"SUPERUSER_EMAIL={DECOMPOSED}@example.com",
        f"SUPERUSER_PASSWORD={DECOMPOSED}",
    ]
    path = tmp_path / DECOMPOSED
    path.write_bytes((BYTE_ORDER_MARK + "\r\n".join(lines)).encode())

    target = resolve_target(TargetChoice(env_file=Path(DECOMPOSED)), {}, tmp_path)

    assert isinstance(target, Target)
    assert target.superuser_email == f"{COMPOSED}@example.com"
    assert target.superuser_password is not None
    assert target.superuser_password.reveal() == DECOMPOSED


def test_the_file_of_profiles_may_have_been_edited_by_hand(tmp_path: Path) -> None:
    text = f'active = "{DECOMPOSED}"\n[profiles."{DECOMPOSED}"]\nsupabase_url = "https://x.supabase.co"\n'
    (tmp_path / "profiles.toml").write_bytes((BYTE_ORDER_MARK + text.replace("\n", "\r\n")).encode())
    (tmp_path / "profiles.toml").chmod(0o600)
    tmp_path.chmod(0o700)

    found = Profiles({"BAZAR_CONFIG_DIR": str(tmp_path)}).read()

    assert (found.active, list(found.profiles)) == (COMPOSED, [COMPOSED])


# -- revisions ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("mark", ["", BYTE_ORDER_MARK])
@pytest.mark.parametrize("path", REVISIONS, ids=lambda path: path.stem)
def test_a_revision_has_one_checksum_however_it_was_checked_out(
    tmp_path: Path, path: Path, mark: str, end: bytes
) -> None:
    other = tmp_path / path.name
    other.write_bytes(mark.encode() + path.read_bytes().replace(b"\n", end))

    assert checksum(other) == checksum(path)
    assert is_checksum_of(path, checksum_of_bytes(other))
    assert is_checksum_of(other, checksum_of_bytes(path))


def test_a_checksum_that_was_taken_of_mixed_line_ends_stays_valid(tmp_path: Path) -> None:
    path = tmp_path / "0009_mixed.py"
    path.write_bytes(b"revision = '0009'\r\ndown_revision = None\n")

    assert checksum(path) != checksum_of_bytes(path)
    assert is_checksum_of(path, checksum_of_bytes(path))
    assert is_checksum_of(path, checksum(path))


@settings(deadline=None)
@given(st.binary(max_size=40), st.integers(0, 40), st.binary(min_size=1, max_size=3))
def test_a_revision_with_any_other_change_has_another_checksum(content: bytes, at: int, added: bytes) -> None:
    edited = content[:at] + added + content[at:]
    same = as_python_reads(edited) == as_python_reads(content)

    assert (checksum_of(edited) == checksum_of(content)) == same


def as_python_reads(content: bytes) -> bytes:
    text = io.TextIOWrapper(io.BytesIO(content), encoding="latin-1", newline=None).read()
    return text.encode("latin-1").removeprefix(BYTE_ORDER_MARK.encode())


def checksum_of_bytes(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


LONG = "9" * 5000
"""More digits than Python takes for a number."""
SHORT = "{!s:.9}".format


@settings(deadline=None)
@given(st.from_regex(r"[0-9_+\s²٣-]{0,25}", fullmatch=True) | st.text(max_size=5) | st.just(LONG))
def test_a_whole_number_is_written_with_few_ascii_digits(text: str) -> None:
    assert whole_number(text) == (int(text) if re.fullmatch("[0-9]{1,18}", text) else None)


@pytest.mark.parametrize(
    ("given_columns", "width"),
    [("120", 120), ("9999", 9999), ("10000", 80), (LONG, 80), ("0", 80), ("", 80), ("-5", 80), ("²", 80), ("wide", 80)],
    ids=SHORT,
)
def test_a_width_that_no_screen_has_is_none(monkeypatch: pytest.MonkeyPatch, given_columns: str, width: int) -> None:
    environ = {"COLUMNS": given_columns, "LINES": given_columns, "CLICOLOR_FORCE": "1"}
    for name, value in environ.items():
        monkeypatch.setenv(name, value)  # Rich reads them, too

    assert columns(io.StringIO(), environ) == width
    assert "Ada" in key_values([("name", "Ada")], io.StringIO(), environ)


@pytest.mark.parametrize("text", [LONG, f"-{LONG}", "[" * 100_000, f'{{"a": {"9" * 301}}}', "", "\ufeff1"], ids=SHORT)
def test_json_that_python_does_not_take_is_a_fault_in_plain_words(text: str) -> None:
    with pytest.raises(ValueError, match=r"^(?!.*(sys\.|recursion))"):
        from_json(text)


@pytest.mark.parametrize(
    ("port", "fits"), [("", True), ("65535", True), ("0", False), ("000008080123", False), (LONG, False)], ids=SHORT
)
def test_a_port_is_read_whole(port: str, fits: bool) -> None:
    assert bool(bad_port(port)) != fits


def test_composed_leaves_what_is_not_text_in_need_of_it() -> None:
    assert composed("lone \udc80 half") == "lone \udc80 half"


def test_counted_nouns_have_the_right_form() -> None:
    assert [counted(n, "user") for n in (0, 1, 2)] == ["0 users", "1 user", "2 users"]
    assert [counted(n, "identity") for n in (1, 2)] == ["1 identity", "2 identities"]
    assert [counted(2, noun) for noun in ("key", "event")] == ["2 keys", "2 events"]


def test_a_number_of_json_has_up_to_300_digits() -> None:
    assert from_json("9" * 300) == 10**300 - 1
    with pytest.raises(ValueError, match="has 301 digits"):
        from_json("9" * 301)


def test_a_text_of_json_is_not_empty() -> None:
    assert nonempty_text("a") == "a"
    for value in ("", None, 7, ["a"]):
        with pytest.raises(ValueError, match="not a text"):
            nonempty_text(value)
