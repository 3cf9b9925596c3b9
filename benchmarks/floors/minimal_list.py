"""The smallest plain program that answers `bazar users list -o json`, page by OFFSET, with the same libraries.

It has no permissions, no other output and no cursor: the way of paging that most programs take, whose cost grows
with the page.
"""

from __future__ import annotations

import json
from typing import Annotated

import typer
from sqlalchemy import create_engine, make_url, text

from benchmarks.floors.minimal_get import Settings, verify

_PAGE = text(
    """
    SELECT u.id, u.email, u.name, u.plan, u.state, u.pending, u.is_superuser, u.created_at, u.updated_at,
           coalesce((SELECT jsonb_agg(jsonb_build_object('id', o.id, 'slug', o.slug, 'role', m.role) ORDER BY o.slug)
                     FROM bazar.memberships m JOIN bazar.organizations o ON o.id = m.organization_id
                     WHERE m.user_id = u.id), '[]'::jsonb) AS organizations
    FROM bazar.users u ORDER BY u.created_at, u.id LIMIT 50 OFFSET :rows
    """
)

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def users(page: Annotated[int, typer.Argument(help="which page, from 1")]) -> None:
    """Show one page of 50 users as JSON."""
    settings = Settings.model_validate({})
    verify(settings)
    engine = create_engine(make_url(settings.database_url).set(drivername="postgresql+psycopg"))
    with engine.connect() as connection:
        rows = connection.execute(_PAGE, {"rows": (page - 1) * 50}).mappings().all()
    typer.echo(json.dumps([dict(row) for row in rows], indent=2, default=str))
