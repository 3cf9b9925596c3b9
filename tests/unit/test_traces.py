"""Which commands are traced, and what a span may say about a statement."""

from __future__ import annotations

import pytest
from psycopg import sql

from bazar_cli.adapters import traces
from bazar_cli.adapters.postgres.connections import begin
from bazar_cli.adapters.postgres.statements import summary
from bazar_cli.domain.calls import MOST_KEPT, Calls, System, TraceContext, timed

LOW, HIGH = "0" * 31 + "1", "f" * 32
"""Trace ids that a ratio keeps first and last."""
PARENT = "00f067aa0ba902b7"


def sampled(trace_id: str, **variables: str) -> bool:
    context = traces.begin(variables, trace_id)
    return context is not None and context.sampled


@pytest.mark.parametrize(
    ("sampler", "argument", "low", "high"),
    [
        ("", "", True, True),
        ("always_on", "", True, True),
        ("always_off", "", False, False),
        ("parentbased_always_on", "", True, True),
        ("parentbased_always_off", "", False, False),
        ("traceidratio", "0.5", True, False),
        ("parentbased_traceidratio", "0.5", True, False),
        ("traceidratio", "1", True, True),
        ("traceidratio", "half", True, True),
        ("traceidratio", "", True, True),
        ("unknown", "", True, True),
    ],
)
def test_sampler_without_a_caller(sampler: str, argument: str, low: bool, high: bool) -> None:
    variables = {"OTEL_TRACES_SAMPLER": sampler, "OTEL_TRACES_SAMPLER_ARG": argument}
    assert (sampled(LOW, **variables), sampled(HIGH, **variables)) == (low, high)


@pytest.mark.parametrize("flag", ["00", "01"])
@pytest.mark.parametrize(
    ("sampler", "decides"),
    [
        *((name, "caller") for name in ("", "parentbased_always_on", "parentbased_always_off", "unknown")),
        *(("always_on", "on"), ("always_off", "off")),
    ],
)
def test_sampler_with_a_caller(sampler: str, decides: str, flag: str) -> None:
    expected = {"caller": flag == "01", "on": True, "off": False}[decides]
    assert sampled(LOW, OTEL_TRACES_SAMPLER=sampler, TRACEPARENT=f"00-{HIGH}-{PARENT}-{flag}") is expected


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("SELECT a FROM bazar.users WHERE email = %s", ("SELECT", "bazar.users")),
        ("\n  insert INTO bazar.users (email) VALUES ('ada@example.com')", ("INSERT", "bazar.users")),
        ("UPDATE bazar.users SET name = 'from bazar.secret'", ("UPDATE", "bazar.users")),
        ("DELETE FROM auth.users", ("DELETE", "")),
        ("WITH x AS (SELECT 1 FROM bazar.plans) SELECT", ("WITH", "bazar.plans")),
        (begin(read_only=True, snapshot=True), ("BEGIN", "")),
        (b"SELECT 1", ("SELECT", "")),
        (sql.SQL("CREATE DATABASE {}").format(sql.Identifier("bazar.x")), ("CREATE", "")),
        (sql.SQL("SELECT {}").format(sql.Literal("a word")), ("SELECT", "")),
        ("-- a comment about ada@example.com", ("STATEMENT", "")),
        ("password123", ("STATEMENT", "")),
        ("", ("STATEMENT", "")),
    ],
)
def test_statement_is_known_by_its_kind_and_its_table(statement: object, expected: tuple[str, str]) -> None:
    assert summary(statement) == expected


def test_a_trace_keeps_a_bounded_number_of_calls_and_counts_all() -> None:
    calls = Calls(TraceContext(LOW, PARENT, "", sampled=True, state=""))
    with calls.recording():
        for _ in range(MOST_KEPT + 3):
            with timed(System.POSTGRES, "SELECT"):
                pass
        with pytest.raises(ZeroDivisionError), timed(System.AUTH, "GET"):
            raise ZeroDivisionError
    with timed(System.AUTH, "GET"):
        pass
    assert (calls.count(System.POSTGRES), calls.count(System.AUTH)) == (MOST_KEPT + 3, 1)
    assert (len(calls.kept), calls.dropped) == (MOST_KEPT, 4)


def test_text_of_a_variable_that_is_not_utf8_is_sent_as_utf8() -> None:
    context = TraceContext(LOW, PARENT, "", sampled=True, state="")
    request = traces.encode(context, (), {"OTEL_SERVICE_NAME": "a\udcff"}, lambda text: text)
    assert "a?" in str(request)
