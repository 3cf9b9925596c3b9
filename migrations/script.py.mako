<%
    import re

    upgrading, downgrading = context.get("upgrades", ""), context.get("downgrades", "")
    imported = context.get("imports", "")
    merging = isinstance(down_revision, tuple)
    lost = [f"bazar.{name}" for name in re.findall(r"op\.drop_table\('(\w+)', schema='bazar'\)", downgrading)]
    lost += [f"bazar.{table}.{name}" for table, name in re.findall(r"op\.drop_column\('(\w+)', '(\w+)'", downgrading)]
    typed = "str | tuple[str, ...] | None"

    def literal(value):
        if isinstance(value, (tuple, list)):
            return "(" + ", ".join(map(literal, value)) + ("," if len(value) == 1 else "") + ")"
        return "None" if value is None else '"' + value + '"'
%>"""${message.rstrip(".").replace("\\", "\\\\").replace('"', '\\"')}.

Revision ID: ${up_revision}
Revises: ${down_revision | comma,n}
"""

from __future__ import annotations

% if "sa." in upgrading + downgrading:
import sqlalchemy as sa
% endif
% if not merging:
from alembic import op
% if imported:
${imported}
% endif

% endif
revision: str = ${literal(up_revision)}
down_revision: ${typed} = ${literal(down_revision)}
branch_labels: ${typed} = ${literal(branch_labels)}
depends_on: ${typed} = ${literal(depends_on)}
% if re.search(r"op\.drop_(table|column)\(|\btype_=", upgrading):
destructive: bool = True
% endif
% if lost:
downgrade_loses: tuple[str, ...] = ${literal(lost)}
% endif


def upgrade() -> None:
% if upgrading:
    ${upgrading}
% elif merging:
    pass
% else:
    # Literal SQL, as in the revisions before: what it does never changes with the models.
    op.execute("SELECT 1")
% endif


def downgrade() -> None:
% if downgrading:
    ${downgrading}
% elif merging:
    pass
% else:
    op.execute("SELECT 1")
% endif
