"""Every SQLSTATE, and every text of a refused connection, has an answer: what it is called, and its exit code."""

from __future__ import annotations

import psycopg
import psycopg.errors
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bazar_cli.adapters.postgres.errors import translate
from bazar_cli.domain.errors import BazarError, ExitCode
from tests.support.postgres import target_of

_TARGET = target_of("postgresql://someone:very-secret@db.example.com:5432/shop")
KNOWN = {
    error.sqlstate: error
    for error in vars(psycopg.errors).values()
    if isinstance(error, type) and issubclass(error, psycopg.Error) and error.sqlstate
}
"""Every SQLSTATE of the Postgres manual, appendix A, that is an error."""
_BUGS = {
    *("21000", "25000", "25001", "25002", "25003", "25004", "25005", "25007", "25008", "25P01", "25P02"),
    *("42601", "42702", "42712", "42803", "42804", "42846", "42P02", "42P08", "42P18", "42P19", "42P20"),
}
"""A statement of ours is wrong, or came where it may not: nothing in a database is to be mended."""
_MAY_PASS = {
    *("08000", "08001", "08003", "08004", "08006", "08007", "08P01", "25006", "25P03", "25P04"),
    *("40000", "40001", "40003", "40P01", "53000", "53100", "53200", "53300", "55P03"),
    *("57000", "57014", "57P01", "57P02", "57P03", "57P05", "72000"),
}


def answer(sqlstate: str) -> BazarError:
    kind = KNOWN.get(sqlstate, psycopg.DatabaseError)
    return translate(type("Raised", (kind,), {"sqlstate": sqlstate})("what Postgres says"), _TARGET)


def test_every_sqlstate_has_an_answer() -> None:
    answers = {sqlstate: answer(sqlstate) for sqlstate in KNOWN}
    assert {s for s, a in answers.items() if a.exit_code is ExitCode.BUG} == _BUGS & KNOWN.keys()
    assert {s for s, a in answers.items() if a.exit_code is ExitCode.UNAVAILABLE} == _MAY_PASS & KNOWN.keys()
    for sqlstate, found in answers.items():
        assert found.details.get("sqlstate") == sqlstate or found.code == "db.no_database"
        assert found.hint
        assert "very-secret" not in f"{found.message}{found.hint}"
        by_setting = found.code == "postgres.read_only" or "setting" in found.details
        assert "what Postgres says" in found.message or by_setting or found.code == "db.no_database", sqlstate


@given(st.text("ABCXYZ0123456789", min_size=5, max_size=5).filter(lambda code: code not in _BUGS))
def test_a_sqlstate_that_nobody_knows_is_no_bug(sqlstate: str) -> None:
    if sqlstate[:2] not in {"21", "25"}:
        assert answer(sqlstate).exit_code is not ExitCode.BUG


_HERE = 'connection failed: connection to server at "10.0.0.1", port 5432 failed: '
_OR_CHANGE_SSLMODE = "Either provide the file, or change sslmode to disable server certificate verification."
_REFUSED, _URL, _TLS = ("postgres.refused", 2), ("postgres.url", 2), ("postgres.tls", 6)
_CLOSED, _AWAY = ("postgres.not_admitted", 6), ("postgres.unavailable", 7)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('FATAL:  password authentication failed for user "x"', _REFUSED),
        ('FATAL:  role "x" does not exist', _REFUSED),
        ('FATAL:  Peer authentication failed for user "x"', _REFUSED),
        ('FATAL:  certificate authentication failed for user "x"', _REFUSED),
        ("FATAL:  connection requires a valid client certificate", _REFUSED),
        ("fe_sendauth: no password supplied", _REFUSED),
        ("FATAL:  no such user", _REFUSED),
        ("FATAL:  SASL authentication failed", _REFUSED),
        ("FATAL:  server login failed: FATAL password authentication failed", _REFUSED),
        ("FATAL:  Tenant or user not found", _REFUSED),
        ("FATAL:  (ENOTFOUND) tenant/user postgres.abc not found", _REFUSED),
        ("FATAL:  (ENOIDENTIFIER) no tenant identifier provided (external_id or sni_hostname required)", _REFUSED),
        ('FATAL:  no pg_hba.conf entry for host "1.2.3.4", user "x", database "y", no encryption', _CLOSED),
        ('FATAL:  pg_hba.conf rejects connection for host "1.2.3.4", user "x", database "y"', _CLOSED),
        ('FATAL:  role "x" is not permitted to log in', _CLOSED),
        ('FATAL:  database "x" is not currently accepting connections', _CLOSED),
        ('FATAL:  permission denied for database "x"\nDETAIL:  User does not have CONNECT privilege.', _CLOSED),
        ("FATAL:  (EADDRNOTALLOWED) address not in tenant allow_list: {1, 2, 3, 4}", _CLOSED),
        ("Permission denied", _CLOSED),
        ("server does not support SSL, but SSL was required", _TLS),
        ("SSL error: certificate verify failed: self-signed certificate", _TLS),
        ('server certificate for "a" does not match host name "b"', _TLS),
        ("channel binding required, but SSL not in use", _TLS),
        ('authentication method requirement "scram-sha-256" failed: server requested a cleartext password', _TLS),
        ("SSL error: tlsv1 alert protocol version", _TLS),
        ("FATAL:  SSL required", _TLS),
        (f'root certificate file "/nope" does not exist\n{_OR_CHANGE_SSLMODE}', _URL),
        ('could not read root certificate file "/x": Permission denied', _URL),
        ('private key file "/x" has group or world access; file must have permissions u=rw (0600) or less', _URL),
        ('invalid target_session_attrs value: "x"', _URL),
        ('invalid integer value "x" for connection option "keepalives"', _URL),
        ('Unix-domain socket path "/x" is too long (maximum 107 bytes)', _URL),
        ('FATAL:  unrecognized configuration parameter "foo"', _URL),
        ('FATAL:  invalid value for parameter "work_mem": "abc"', _URL),
        ('FATAL:  permission denied to set parameter "lc_messages"', _URL),
        ('FATAL:  parameter "shared_buffers" cannot be changed without restarting the server', _URL),
        ("FATAL:  -c nonsense requires a value", _URL),
        ("FATAL:  unsupported startup parameter: search_path", _URL),
        ("received invalid response to SSL negotiation: H", _URL),
        ("expected authentication request from server, but received H", _URL),
        ('FATAL:  database "x" does not exist', ("db.no_database", 6)),
        ("FATAL:  no such database: x", ("db.no_database", 6)),
        ("FATAL:  the database system is starting up", _AWAY),
        ("FATAL:  sorry, too many clients already", _AWAY),
        ('FATAL:  too many connections for role "x"', _AWAY),
        ("FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute", _AWAY),
        ("FATAL:  server login has been failing, cached error: connect failed (server_login_retry)", _AWAY),
        ("FATAL:  no more connections allowed (max_client_conn)", _AWAY),
        ("FATAL:  (EMAXCONNSESSION) max clients reached in session mode", _AWAY),
        ("FATAL:  (ECIRCUITBREAKER) too many authentication failures, new connections are blocked", _AWAY),
        ("Connection refused\n\tIs the server running on that host and accepting TCP/IP connections?", _AWAY),
        ("SSL SYSCALL error: EOF detected", _AWAY),
        ("server closed the connection unexpectedly", _AWAY),
        ("timeout expired", _AWAY),
        ("FATAL:  Datenbank ist müde", _AWAY),
    ],
)
def test_a_refused_connection_says_whether_it_may_pass(text: str, expected: tuple[str, int]) -> None:
    found = translate(psycopg.OperationalError(_HERE + text), _TARGET)
    assert (found.code, found.exit_code) == expected
    assert found.hint
    assert "\n" not in found.message
    if "DETAIL" in text:
        assert "User does not have CONNECT privilege" in found.message


def test_a_url_that_libpq_cannot_read_is_not_repeated() -> None:
    url = "postgresql://x:very-secret@[::1/shop"
    with pytest.raises(psycopg.ProgrammingError, match="very-secret") as caught:
        psycopg.connect(url)
    found = translate(caught.value, target_of(url))
    assert (found.code, found.exit_code) == _URL
    assert "very-secret" not in f"{found.message}{found.hint}{found.details}"


def test_the_last_attempt_that_says_why_decides() -> None:
    refused = 'FATAL:  password authentication failed for user "x"'
    texts = {
        f"{_HERE}Connection refused\n{_HERE}{refused}": "postgres.refused",
        f'{_HERE}{refused}\n{_HERE}FATAL:  no pg_hba.conf entry for host "h", no encryption': "postgres.not_admitted",
        f"{_HERE}Connection refused\nMultiple connection attempts failed. All failures were:\n- host: 'a': {refused}": (
            "postgres.unavailable"
        ),
    }
    assert {text: translate(psycopg.OperationalError(text), _TARGET).code for text in texts} == texts
