"""Cursors: bazar takes what it printed, and refuses every other text with one error."""

from __future__ import annotations

import base64
import json
import uuid
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bazar_cli.adapters.postgres.cursors import Position, decode, encode
from bazar_cli.domain.errors import UsageError

ID = uuid.UUID("0198f000-0000-7000-8000-000000000001")
NOW = datetime(2026, 11, 30, 12, 30, 0, 250, timezone.utc)
TIME = NOW.isoformat()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def forged(content: object) -> str:
    """A cursor of any content, or of any JSON text, encoded as bazar does it."""
    text = content if isinstance(content, str) else json.dumps(content, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def refused(cursor: str, *, by_time: bool = True) -> bool:
    """Whether a cursor is refused; one that is taken must be as bazar writes it."""
    try:
        position = decode(cursor, "created" if by_time else "email", by_time=by_time)
    except UsageError as error:
        return error.code == "list.cursor_invalid" and len(error.message) < 800
    assert encode(position) == cursor
    return False


@settings(deadline=None)
@given(
    st.datetimes(timezones=st.timedeltas(timedelta(hours=-15), timedelta(hours=15)).map(timezone)),
    st.uuids(),
)
@example(datetime.max.replace(tzinfo=timezone.utc), ID)
@example(datetime.min.replace(tzinfo=timezone.utc), ID)
def test_a_position_by_time_comes_back(moment: datetime, last: uuid.UUID) -> None:
    try:
        cursor = encode(Position("created", moment, last))
    except OverflowError:  # before the year 1 in UTC: Postgres returns none such to Python
        return

    assert decode(cursor, "created", by_time=True) == Position("created", moment, last)


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), st.uuids())
def test_a_position_by_text_comes_back(email: str, last: uuid.UUID) -> None:
    position = Position("email", email, last)

    assert decode(encode(position), "email", by_time=False) == position


@pytest.mark.parametrize(
    "time",
    [
        "2026-W49-1",
        "2026W491",
        "20261130T123000Z",
        "2026-11-30",
        "2026-11-30T12:30:00",
        "2026-11-30T12:30:00Z",
        "2026-11-30 12:30:00+00:00",
        "2026-11-30T12:30:00.5+00:00",
        "2026-11-30T12:30:00+23:59",
        "2026-11-30T12:30:00-00:00",
        "2026-11-30T12:30:00+00:00:00.000001",
        "2026-11-30T12:30:00+05:45:07",
        "0001-01-01T00:00:00",
        "9999-12-31T23:59:59",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "0000-00-00T00:00:00+00:00",
        "infinity",
        "-infinity",
        "now",
        "",
        "\ud800",
        "nul\0",
        "\u0662\u0660\u0662\u0666-11-30T12:30:00+00:00",
    ],
)
def test_a_time_is_taken_in_one_form_only(time: str) -> None:
    assert refused(forged(["created", time, str(ID)]))


@pytest.mark.parametrize("by_time", [True, False])
@pytest.mark.parametrize(
    "content",
    [
        ["created", TIME],
        ["created", TIME, str(ID), "more"],
        ["created", TIME, str(ID).upper()],
        ["created", TIME, f"{{{ID}}}"],
        ["created", TIME, ID.hex],
        ["created", TIME, f"urn:uuid:{ID}"],
        ["created", TIME, 7],
        ["created", TIME, None],
        ["created", 10**400, str(ID)],
        ["created", [TIME], str(ID)],
        [["created"], TIME, str(ID)],
        ["email", "\ud83d", str(ID)],
        ["email", "nul\0", str(ID)],
        ["email", None, str(ID)],
        {"created": TIME},
        "abc",
        None,
        1e400,
        f'["created", "{TIME}", "{ID}"]',
        f'["email", "a@b", "{ID}"]',
        f'["created","{TIME}","{ID}"]\n',
        f'["created","{TIME}","{ID}"] ',
        f'["cre\\u0061ted","{TIME}","{ID}"]',
        "[" * 100_000,
        '{"a":' * 100_000,
        "[" * 400 + "]" * 400,
        "9" * 5000,
        f'["created",{"9" * 5000},"{ID}"]',
        "NaN",
        "",
        "\ufeff[]",
    ],
    ids=lambda content: str(content)[:40],
)
def test_what_has_another_shape_is_refused(content: object, by_time: bool) -> None:
    assert refused(forged(content), by_time=by_time)


@pytest.mark.parametrize("by_time", [True, False])
def test_another_spelling_of_the_same_content_is_refused(by_time: bool) -> None:
    good = encode(Position("created" if by_time else "email", NOW if by_time else "\u00ff\u00fe~~~???@x", ID))
    assert not refused(good, by_time=by_time)
    for other in (f"{good}=", f"{good}==", f" {good}", f"{good}\n", f"{good}!", f"{good}A", good[:-1], f"\ufeff{good}"):
        assert refused(other, by_time=by_time), other


def test_a_cursor_of_another_list_names_both() -> None:
    with pytest.raises(UsageError, match="audit, not created"):
        decode(encode(Position("audit", NOW, ID)), "created", by_time=True)


@settings(deadline=None)
@given(st.text() | st.binary().map(lambda raw: base64.urlsafe_b64encode(raw).decode().rstrip("=")), st.booleans())
def test_no_text_is_a_bug(text: str, by_time: bool) -> None:
    assert refused(text, by_time=by_time)


@settings(deadline=None)
@given(st.lists(JSON, min_size=3, max_size=3) | JSON, st.booleans())
def test_no_content_is_a_bug(content: object, by_time: bool) -> None:
    assert refused(forged(json.dumps(content, separators=(",", ":"))), by_time=by_time)


@settings(deadline=None)
@given(JSON, JSON, st.booleans())
def test_no_key_is_a_bug(key: object, last: object, by_time: bool) -> None:
    order = "created" if by_time else "email"
    refused(forged([order, key, str(ID)]), by_time=by_time)
    refused(forged([order, TIME, last]), by_time=by_time)
