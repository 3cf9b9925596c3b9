"""Cause a connection was refused, read from the text: libpq hands out no SQLSTATE of a refused connection.

Only this module reads texts. They are libpq's own, which are English, and those of a server or a pooler, whose language
an administrator chooses. A text that is not known here counts as a failure that may pass.
"""

from __future__ import annotations

import re
from enum import Enum, auto

from bazar_cli.adapters.postgres.diagnostics import Diagnostics


class Cause(Enum):
    """Why a connection failed."""

    PASSES = auto()
    """The server or the pooler is busy, starting or ending."""
    USER = auto()
    """The user, the password or another proof of identity."""
    URL = auto()
    """Another part of the URL, such as a file that it names."""
    TLS = auto()
    """One end asks for more than the other gives: encryption, a certificate, a way to sign in."""
    CLOSED = auto()
    """The server does not admit this user, address or database, even with the right password."""
    NO_DATABASE = auto()


_OF_A_POOLER = "the user of Supabase's pooler is ROLE.PROJECT-REF, and each region has another pooler"
_SIGN_IN = "check user and password in the URL; a password past its VALID UNTIL is refused in the same words"
_ADD_IT = "add a password to the URL: postgresql://USER:PASSWORD@HOST/DATABASE"
_CLIENT_CERTIFICATE = "add sslcert and sslkey to the URL"
_ENCRYPT = "add sslmode=require to the URL"
_NO_ENTRY = f"{_ENCRYPT}, or let an administrator add the entry to pg_hba.conf"
_NO_LOGIN = "let an administrator run ALTER ROLE with LOGIN, or take another role"
_NO_CONNECT = "let the owner of the database run GRANT CONNECT ON DATABASE for the role"
_SOCKET = "let your user open the folder of the socket, or take another host"
_FILES = "check the certificate and key files that the URL names, and who may read them"
_AUTHORITY = (
    "name the authority that signed the server's certificate with sslrootcert, or let the server get another one"
)
_NO_POSTGRES = "check host and port in the URL: what listens there does not speak Postgres' protocol"
_POOL_MODE = "use a pooler that pools sessions or transactions"
_HOST = "correct host and port in the URL"

# The first that fits decides. Sources: Postgres src/interfaces/libpq/fe-connect.c, fe-auth.c, fe-secure*.c and
# src/backend/libpq/auth.c, utils/init/postinit.c, utils/init/miscinit.c, utils/misc/guc.c, tcop/backend_startup.c;
# PgBouncer src/client.c, src/server.c, src/objects.c; Supavisor lib/supavisor/errors.
_TEXTS: tuple[tuple[Cause, str, str], ...] = (
    # Postgres: 57P03, 57P01, 53300. PgBouncer: a server that is down, and limits.
    (
        Cause.PASSES,
        r"the database system is|recovery mode|terminating connection|too many|remaining connection slots",
        "",
    ),
    (Cause.PASSES, r"connect failed|client_login_timeout|query_wait_timeout|max_client_conn|connections exceeded", ""),
    # Supavisor: its other codes are of limits, timeouts and restarts.
    (Cause.USER, r"\((ENOTFOUND|ENOIDENTIFIER|EINVALIDUSERINFO)\)|tenant or user not found|no tenant id", _OF_A_POOLER),
    (Cause.USER, r"\((EWRONGPASSWORD|EJITUNAUTHORIZED)\)|user not found in the database", ""),
    (Cause.CLOSED, r"\((EADDRNOTALLOWED|EBANNED)\)|not in tenant allow_list", ""),
    (Cause.TLS, r"\(ESSLREQUIRED\)|SSL (connection is )?required", _ENCRYPT),
    (Cause.PASSES, r"\(E[A-Z]{5,}\)|max client", ""),
    # The proof of identity: 28P01 and 28000 of auth.c, and a pooler in their place.
    (Cause.USER, r"password authentication failed", _SIGN_IN),
    (Cause.USER, r"authentication failed|no such user|no username supplied|empty password|login rejected", ""),
    (Cause.USER, r"role .* does not exist", ""),
    (Cause.USER, r"no password supplied", _ADD_IT),
    (Cause.USER, r"valid client certificate|did not request an SSL certificate", _CLIENT_CERTIFICATE),
    # What the server admits.
    (Cause.CLOSED, r"no pg_hba\.conf entry.*no encryption", _NO_ENTRY),
    (Cause.CLOSED, r"pg_hba\.conf", ""),
    (Cause.CLOSED, r"is not permitted to log in", _NO_LOGIN),
    (Cause.CLOSED, r"not currently accepting connections|database .* is disabled", ""),
    (Cause.CLOSED, r"permission denied for database", _NO_CONNECT),
    (Cause.CLOSED, r"^Permission denied$", _SOCKET),
    (Cause.NO_DATABASE, r"database .* does not exist|no such database", ""),
    # What secures the connection: files of the URL first, then what the two ends do not agree on.
    (
        Cause.URL,
        r"root certificate|(private|SSL) key|certificate file|weak sslmode|host name must be specified",
        _FILES,
    ),
    (Cause.TLS, r"certificate verify failed|server certificate|server's certificate|certificate's name", _AUTHORITY),
    (Cause.TLS, r"SSL was required|GSSAPI encryption|channel binding|authentication method|SASL|requirepeer|ALPN", ""),
    (Cause.TLS, r"SSL error: .*(alert|version|protocol|cipher|certificate|too (weak|small))|unencrypted data", ""),
    # What else the URL says.
    (Cause.URL, r"received invalid response to|expected authentication request|frontend protocol", _NO_POSTGRES),
    (Cause.URL, r"statement pooling mode", _POOL_MODE),
    (
        Cause.URL,
        r"invalid port number|is too long \(maximum|could not parse network address|could not match \d+",
        _HOST,
    ),
    (Cause.URL, r"invalid (\S+ )?value|invalid (URI|connection option|SSL protocol)", ""),
    (Cause.URL, r"(unsupported|options) startup parameter|(unrecognized|invalid) configuration parameter", ""),
    (Cause.URL, r"requires a value|parameter .* cannot be|to set parameter|command-line argument", ""),
    (Cause.URL, r"is outside the valid range for parameter", ""),
)
_EVERY_ATTEMPT = "Multiple connection attempts failed"
_ATTEMPT = r"^(connection (failed|is bad): )?(connection to server .*? failed: )?(FATAL:\s+)?"


def failure_in(text: str) -> tuple[Cause, Diagnostics] | None:
    """Find in the text of an error why the connection was refused; None for an unknown text.

    Of several attempts, as with and without encryption, the last one that says why decides.
    """
    lines = text.partition(_EVERY_ATTEMPT)[0].splitlines()
    for place in reversed(range(len(lines))):
        if place > 0 and not lines[place].startswith("connection "):
            continue
        message = re.sub(_ATTEMPT, "", lines[place].strip())
        for cause, pattern, remedy in _TEXTS:
            if re.search(pattern, message, re.IGNORECASE):
                more = {name: value.strip() for name, _, value in (line.partition(":") for line in lines[place + 1 :])}
                return cause, Diagnostics(None, message, more.get("DETAIL", ""), more.get("HINT", ""), remedy=remedy)
    return None
