"""The smallest plain program that answers `bazar users get EMAIL -o json`, with SQLAlchemy as most programs have it.

Settings from the environment, the access token verified with the cached key set, one query, JSON. It has no
permissions, no other output, no error messages. The difference to bazar is their price.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import jwt
import typer
from pydantic_settings import BaseSettings
from sqlalchemy import create_engine, make_url, text

_USER = text(
    """
    SELECT u.id, u.email, u.name, u.plan, u.state, u.pending, u.is_superuser, u.created_at, u.updated_at,
           coalesce((SELECT jsonb_agg(jsonb_build_object('id', o.id, 'slug', o.slug, 'role', m.role) ORDER BY o.slug)
                     FROM bazar.memberships m JOIN bazar.organizations o ON o.id = m.organization_id
                     WHERE m.user_id = u.id), '[]'::jsonb) AS organizations
    FROM bazar.users u WHERE lower(u.email) = :email
    """
)

app = typer.Typer(add_completion=False, rich_markup_mode=None)


class Settings(BaseSettings):
    """What the program needs, by the names of environment variables."""

    supabase_url: str
    database_url: str
    bazar_token: str
    jwks_file: Path


@app.command()
def get(email: Annotated[str, typer.Argument(help="whom to show")]) -> None:
    """Show one user as JSON."""
    settings = Settings.model_validate({})
    verify(settings)
    engine = create_engine(make_url(settings.database_url).set(drivername="postgresql+psycopg"))
    with engine.connect() as connection:
        row = connection.execute(_USER, {"email": email.lower()}).mappings().one()
    typer.echo(json.dumps(dict(row), indent=2, default=str))


def verify(settings: Settings) -> dict[str, Any]:
    """Return the claims of the access token, checked with the cached key set."""
    keys = jwt.PyJWKSet.from_dict(json.loads(settings.jwks_file.read_text(encoding="utf-8")))
    key = keys[jwt.get_unverified_header(settings.bazar_token)["kid"]]
    return jwt.decode(settings.bazar_token, key, algorithms=["ES256"], audience="authenticated")
