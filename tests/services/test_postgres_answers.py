"""What a real Postgres refuses: in a trigger of somebody else, and at the door."""

from __future__ import annotations

import secrets
import socket
import ssl
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import quote, urlsplit

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bazar_cli.adapters.postgres.diagnostics import Diagnostics
from bazar_cli.adapters.postgres.probe import probe
from bazar_cli.adapters.postgres.server import Server
from bazar_cli.domain.db.migrations import Wait
from bazar_cli.domain.entities import Role
from bazar_cli.domain.errors import BazarError, Conflict, ExitCode
from bazar_cli.domain.orgs import organizations as use_cases
from bazar_cli.domain.orgs.organizations import CreateOrganization
from bazar_cli.domain.users.users import GET, GetUser
from bazar_cli.services.db import status
from bazar_cli.services.gate.backends import Backends
from bazar_cli.services.orgs import organizations as orgs
from bazar_cli.services.users import read as users
from tests.support.other_target import another_postgres
from tests.support.people import REQUEST_ID, People, granted
from tests.support.postgres import target_of
from tests.unit.test_postgres_errors import KNOWN

_GUARD = """
    CREATE TABLE public.raised (code text);
    CREATE FUNCTION public.guard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        RAISE EXCEPTION 'not on Sundays' USING
            ERRCODE = (SELECT code FROM public.raised), DETAIL = 'It is Sunday.', HINT = 'Come on Monday.';
    END $$;
    CREATE TRIGGER guard BEFORE INSERT ON bazar.organizations EXECUTE FUNCTION public.guard();
    INSERT INTO public.raised VALUES ('P0001')
"""
_OWN_WORDS = ("not on Sundays", "It is Sunday", "Come on Monday")
_QUOTES_ROWS = ("23", "44")


Refusal = Callable[[], BazarError]


@pytest.fixture
def refused(alone: People) -> Generator[Refusal]:
    """What `orgs create` ends with, again and again."""
    grant = granted(alone.operator(alone.superuser()), use_cases.CREATE, CreateOrganization("acme"))
    with Backends(alone.target, REQUEST_ID) as backends:

        def create() -> BazarError:
            with pytest.raises(BazarError) as caught:
                orgs.create(backends, grant, CreateOrganization(secrets.token_hex(6)))
            return caught.value

        yield create


def test_a_trigger_may_raise_any_error(alone: People, refused: Refusal) -> None:
    """Never a bug of bazar, and its words are shown."""
    alone.sql(_GUARD)
    # A deadlock is tried again for half a minute.
    for sqlstate in (*sorted(KNOWN.keys() - {"40P01"}), "MYAPP"):
        alone.sql("UPDATE public.raised SET code = %s", sqlstate)
        error = refused()
        assert error.exit_code in {ExitCode.CONFLICT, ExitCode.UNAVAILABLE}, sqlstate
        assert error.code != "postgres.unavailable", f"{sqlstate} does not pass: a trigger chose it"
        if error.code in {"postgres.rejected", "postgres.fault", "postgres.busy", "postgres.unavailable"}:
            shown = _OWN_WORDS[::2] if sqlstate[:2] in _QUOTES_ROWS else _OWN_WORDS
            assert [word for word in shown if word not in f"{error.message} {error.hint}"] == [], sqlstate
            assert error.details == {"sqlstate": sqlstate}


@pytest.mark.spread
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1 FROM public.not_there",
        "EXECUTE 'SELEC 1'",
        "PERFORM NEW.nothing",
        "PERFORM 'a'::int",
        "PERFORM 1 / 0",
        "PERFORM (SELECT permission FROM bazar.plan_permissions)",
        "EXECUTE 'VACUUM bazar.organizations'",
        "PERFORM not_there FROM bazar.users",
    ],
)
@pytest.mark.parametrize("schema", ["public", "bazar"])
def test_a_trigger_that_is_wrong_is_no_bug_of_bazar(
    alone: People, refused: Refusal, schema: str, statement: str
) -> None:
    body = statement.replace("'", "''")
    alone.sql(
        f"CREATE FUNCTION {schema}.broken() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN {body}; RETURN NEW; END';"
        f"CREATE TRIGGER broken BEFORE INSERT ON bazar.organizations FOR EACH ROW EXECUTE FUNCTION {schema}.broken()"
    )
    assert refused().code == "postgres.rejected"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("ALTER TABLE bazar.organizations RENAME COLUMN slug TO other", "slug"),
        ("DROP TABLE bazar.audit_unsealed", "bazar.audit_unsealed"),
    ],
)
def test_an_object_that_was_dropped_by_hand_is_named(alone: People, refused: Refusal, change: str, said: str) -> None:
    """Nothing is pending there, so `db migrate` alone would not help."""
    alone.sql(change)
    error = refused()
    assert (error.code, said in error.message) == ("db.not_migrated", True)
    assert "if nothing is pending, the tables were changed by hand" in error.hint


@pytest.mark.parametrize("column", ["not_there", "created_at"])
def test_a_trigger_written_in_c_is_no_bug_of_bazar(alone: People, refused: Refusal, column: str) -> None:
    alone.sql(
        "CREATE TRIGGER broken BEFORE INSERT ON bazar.organizations FOR EACH ROW"
        f" EXECUTE FUNCTION tsvector_update_trigger('{column}', 'pg_catalog.english', 'name')"
    )
    assert refused().code == "postgres.rejected"


@pytest.mark.parametrize(
    ("context", "others"),
    [
        ('SQL function "other" statement 1', True),
        ('PL/Python function "other"', True),
        ('in PL/Tcl function "other"', True),
        ("PL/pgSQL function bazar.audit_hash_event() line 3 at assignment", False),
        ("PL/pgSQL function public.audit_hash_event() line 3 at assignment", True),
        ('SQL statement "SELECT 1"\nPL/pgSQL function bazar.seal_audit(integer) line 3 at SQL statement', False),
        ("PL/pgSQL function bazar.seal_audit(integer) line 3 at PERFORM\nPL/pgSQL function mine() line 1", True),
        ('SQL statement "SELECT 1 FROM ONLY bazar.users"', False),
    ],
)
def test_a_context_names_the_function(context: str, *, others: bool) -> None:
    assert Diagnostics("42601", "what Postgres says", context=context).is_of_others is others


def test_a_constraint_of_others_is_named_without_the_row(alone: People, refused: Refusal) -> None:
    alone.sql("ALTER TABLE bazar.organizations ADD CONSTRAINT no_hex CHECK (name !~ '^[0-9a-f]+$')")
    error = refused()
    assert (error.code, "no_hex" in error.message, "Failing row" in error.message) == ("postgres.rejected", True, False)


@pytest.mark.parametrize(
    ("table", "column", "check"),
    [
        ("users", "state", "users_state_check"),
        ("users", "pending", "users_pending_check"),
        ("memberships", "role", "memberships_role_check"),
    ],
)
def test_an_unknown_word_is_named(alone: People, table: str, column: str, check: str) -> None:
    ruler, user = alone.superuser(), alone.user({alone.org(): Role.MEMBER})
    alone.sql(f"ALTER TABLE bazar.{table} DROP CONSTRAINT {check}")
    key = "id" if table == "users" else "user_id"
    alone.sql(f"UPDATE bazar.{table} SET {column} = 'frozen' WHERE {key} = %s", user.id)
    with pytest.raises(Conflict) as caught:
        alone.run(ruler, users.get, GET, GetUser(user.email))
    assert (caught.value.code, caught.value.details) == (
        "db.unknown_value",
        {"column": f"{table}.{column}", "value": "frozen"},
    )


# -- at the door ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Door:
    """A server with passwords over TCP, which speaks plain text until it gets a certificate."""

    url: str

    def at(self, query: str = "", *, user: str = "", password: str = "", database: str = "postgres") -> str:
        """A URL of the server; without a user as the superuser, with the right password."""
        parts = urlsplit(self.url)
        word = f":{password}" if password else ""
        who = f"{user}{word}" if user else f"{parts.username}:{parts.password}"
        return f"postgresql://{who}@127.0.0.1:{parts.port}/{database}{query}"


@pytest.fixture(scope="module")
def door() -> Generator[Door]:
    """A server of this module, with a role or a database for each refusal."""
    with another_postgres() as url:
        with psycopg.connect(url, autocommit=True) as connection:
            for statement in (
                "CREATE ROLE plain LOGIN PASSWORD 'right'",
                "CREATE ROLE expired LOGIN PASSWORD 'right' VALID UNTIL '2001-01-01'",
                "CREATE ROLE outside NOLOGIN PASSWORD 'right'",
                "CREATE ROLE crowded LOGIN PASSWORD 'right' CONNECTION LIMIT 0",
                "CREATE DATABASE closed ALLOW_CONNECTIONS false",
                "CREATE DATABASE private",
                "REVOKE CONNECT ON DATABASE private FROM public",
            ):
                connection.execute(statement)
        yield Door(url)


_REFUSED, _URL, _TLS = ("postgres.refused", 2), ("postgres.url", 2), ("postgres.tls", 6)
_CLOSED, _AWAY = ("postgres.not_admitted", 6), ("postgres.unavailable", 7)
_AT: dict[str, tuple[Callable[[Door], str], tuple[str, int]]] = {
    "wrong password": (lambda d: d.at(user="plain", password="wrong"), _REFUSED),
    "no password": (lambda d: d.at(user="plain"), _REFUSED),
    "unknown role": (lambda d: d.at(user="nobody", password="right"), _REFUSED),
    "expired password": (lambda d: d.at(user="expired", password="right"), _REFUSED),
    "role without LOGIN": (lambda d: d.at(user="outside", password="right"), _CLOSED),
    "closed database": (lambda d: d.at(database="closed"), _CLOSED),
    "no CONNECT": (lambda d: d.at(user="plain", password="right", database="private"), _CLOSED),
    "no TLS": (lambda d: d.at("?sslmode=require"), _TLS),
    "no channel binding": (lambda d: d.at("?channel_binding=require"), _TLS),
    "another way to sign in": (lambda d: d.at("?require_auth=md5"), _TLS),
    "nonsense among options": (lambda d: d.at("?options=-c%20nonsense"), _URL),
    "unknown setting": (lambda d: d.at("?options=-c%20foo%3Dbar"), _URL),
    "bad value of a setting": (lambda d: d.at("?options=-c%20work_mem%3Dabc"), _URL),
    "value of a setting out of its range": (lambda d: d.at("?options=-c%20work_mem%3D-5"), _URL),
    "setting of the server": (lambda d: d.at("?options=-c%20shared_buffers%3D1MB"), _URL),
    "setting of a superuser": (
        lambda d: d.at("?options=-c%20lc_messages%3DC", user="plain", password="right"),
        _URL,
    ),
    "bad value of libpq's": (lambda d: d.at("?target_session_attrs=foo"), _URL),
    "long socket folder": (lambda _: f"postgresql://x@/x?host=/{'n' * 120}", _URL),
    "no database": (lambda d: d.at(database="nowhere"), ("db.no_database", 6)),
    "role without a free connection": (lambda d: d.at(user="crowded", password="right"), _AWAY),
    "closed port": (lambda _: "postgresql://x@127.0.0.1:1/x", _AWAY),
    "no socket": (lambda _: "postgresql://x@/x?host=/not/there", _AWAY),
    "unknown host": (lambda _: "postgresql://x@nowhere.invalid/x?sslmode=require", _AWAY),
}


def refusal(url: str) -> BazarError:
    """What a look at a database ends with; no password is in it."""
    with pytest.raises(BazarError) as caught:
        probe(target_of(url))
    told = f"{caught.value.message} {caught.value.hint}"
    assert not any(word in told for word in (urlsplit(url).password, "very-secret") if word and len(word) > 5)
    return caught.value


@pytest.mark.xdist_group("door")
@pytest.mark.parametrize("name", _AT)
def test_a_refusal_says_whether_it_may_pass(door: Door, name: str) -> None:
    url, expected = _AT[name]
    error = refusal(url(door))
    assert (error.code, error.exit_code) == expected
    assert error.hint


@pytest.mark.xdist_group("door")
@pytest.mark.parametrize("name", [name for name, (_, expected) in _AT.items() if expected != _AWAY])
def test_wait_ends_at_once_where_waiting_does_not_help(door: Door, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for a database that is not there yet, which another step may create."""
    url, (code, _) = _AT[name]
    moments = iter((0.0, 100.0, 200.0))
    monkeypatch.setattr(time, "monotonic", lambda: next(moments))
    monkeypatch.setattr(time, "sleep", pytest.fail)
    with pytest.raises(BazarError) as caught:
        status.wait(target_of(url(door)), Wait(60))
    assert caught.value.code == ("db.wait_timeout" if code == "db.no_database" else code)


@pytest.mark.xdist_group("door")
def test_a_template_of_another_collation_version_is_the_servers_fault(door: Door) -> None:
    with psycopg.connect(door.url, autocommit=True) as connection:
        connection.execute("UPDATE pg_database SET datcollversion = '0.1' WHERE datname = 'template1'")
    with pytest.raises(BazarError) as caught:
        Server(target_of(door.at(database="new"))).create()
    assert (caught.value.code, caught.value.exit_code) == ("postgres.fault", ExitCode.CONFLICT)
    assert "collation version" in caught.value.message


@contextmanager
def _something_listens(answer: Callable[[socket.socket], object]) -> Generator[str]:
    """What is no Postgres, or none that lets anybody in: the URL that leads to it.

    The embedded server is built without TLS.
    """
    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor() as pool:

        def serve() -> None:
            while True:
                try:
                    client, _ = listening.accept()
                except OSError:
                    return
                with client, suppress(OSError):
                    client.recv(8)
                    answer(client)

        serving = pool.submit(serve)
        try:
            yield f"postgresql://x:very-secret@localhost:{listening.getsockname()[1]}/x?hostaddr=127.0.0.1"
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            serving.result()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate that nobody signed, for another host, together with its key, which others can read."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.now(timezone.utc)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName("elsewhere.example.com")]), critical=True)
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(made.sign(key, hashes.SHA256()).public_bytes(pem) + secret)
    path.chmod(0o644)
    return path


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("sslmode=verify-full&sslrootcert=system", _TLS),
        ("sslmode=verify-full&sslrootcert={certificate}", _TLS),
        ("sslmode=verify-ca&sslrootcert=/not/there", _URL),
        ("sslmode=verify-ca&sslrootcert={none}", _URL),
        ("sslmode=require&sslcert={certificate}&sslkey=/not/there", _URL),
        ("sslmode=require&sslcert={none}&sslkey={certificate}", _URL),
        ("sslmode=require&sslcert={certificate}&sslkey={certificate}", _URL),
        ("sslmode=prefer&sslrootcert=system", _URL),
    ],
)
def test_a_certificate_that_does_not_fit(certificate: Path, options: str, expected: tuple[str, int]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    files = {"certificate": quote(str(certificate), safe=""), "none": quote(__file__, safe="")}

    def answer(client: socket.socket) -> None:
        client.sendall(b"S")
        with context.wrap_socket(client, server_side=True) as encrypted:
            encrypted.recv(1)

    with _something_listens(answer) as url:
        error = refusal(f"{url}&{options.format(**files)}")
    assert (error.code, error.exit_code) == expected, error.message


def test_a_server_of_another_protocol_is_named() -> None:
    with _something_listens(lambda client: client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as url:
        error = refusal(f"{url}&sslmode=require")
    assert (error.code, error.exit_code) == _URL
    assert "does not speak Postgres" in error.hint
