"""A database with settings of an administrator for the sessions of bazar, and an Auth service without them."""

from __future__ import annotations

import secrets
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from psycopg.sql import SQL, Identifier, Literal

from bazar_cli.devstack.auth.keys import AuthKeys
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Target
from tests.support.auth_service import environment_of, running_auth_service
from tests.support.cli import Bazar
from tests.support.people import People, Someone
from tests.support.postgres import TEMPLATE, name_of, scratch_database


@dataclass(frozen=True)
class ConfiguredSystem:
    """Both systems for one module alone, so that all their rows can be compared."""

    people: People
    ruler: Someone
    home: Path

    @property
    def url(self) -> str:
        """The database URL of bazar."""
        return self.people.target.database_url.reveal()

    @property
    def role(self) -> str:
        """The role in that URL."""
        return urlsplit(self.url).username or ""

    def bazar(self) -> Bazar:
        """`bazar` signed in as a superuser."""
        token = self.people.access_token(self.ruler)
        return Bazar(self.home).on(self.people.target).having(BAZAR_TOKEN=token)

    @contextmanager
    def set(self, values: Mapping[str, str], place: str = "ROLE {role} IN DATABASE {database}") -> Generator[None]:
        """Set this for new sessions of bazar only, for the block.

        Parameters: `place` is what ALTER names; neither name needs quotes.
        """
        where = place.format(role=self.role, database=name_of(self.url))
        with psycopg.connect(self.url, autocommit=True) as connection:
            try:
                for name, value in values.items():
                    # Of the settings that are lists, only search_path takes a quoted list as one name.
                    parts = value.split(", ") if name == "search_path" else [value]
                    given = ", ".join(Literal(part).as_string() for part in parts)
                    connection.execute(f"ALTER {where} SET {name} = {given}".encode())
                yield
            finally:
                connection.execute(f"ALTER {where} RESET ALL".encode())


@contextmanager
def configured_system(postgres_url: str, target: Target, keys: AuthKeys, home: Path) -> Generator[ConfiguredSystem]:
    """Yield both systems: bazar and the Auth service connect with different roles."""
    role = f"bazar_{secrets.token_hex(6)}"
    with scratch_database(postgres_url, TEMPLATE) as database, _role(database, role) as url:
        values = {"supabase_key": Secret(keys.secret_key), "database_url": Secret(url)}
        with (
            running_auth_service(environment_of(keys, database)) as auth,
            People(replace(target, supabase_url=auth, **values)) as people,
        ):
            ruler = people.superuser()
            people.identity(ruler)
            # The Auth service connects before a test changes settings, which are not for it.
            people.auth("GET", "/admin/users?per_page=1").raise_for_status()
            yield ConfiguredSystem(people, ruler, home)


@contextmanager
def _role(database: str, role: str) -> Generator[str]:
    """Yield the URL of the database for a new superuser role."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(SQL("CREATE ROLE {} LOGIN SUPERUSER").format(Identifier(role)))
        try:
            scheme, rest = database.split("://", 1)
            yield f"{scheme}://{role}@{rest.split('@', 1)[1]}"
        finally:
            connection.execute(SQL("DROP OWNED BY {}").format(Identifier(role)))
            connection.execute(SQL("DROP ROLE {}").format(Identifier(role)))
