"""A statement puts all its audit events into the queue at once.

Revision ID: 0007
Revises: 0006
"""

from __future__ import annotations

from alembic import op

revision: str = "0007"
down_revision: str | tuple[str, ...] | None = "0006"
branch_labels: str | tuple[str, ...] | None = None
depends_on: str | tuple[str, ...] | None = None

# The trigger for each row sealed at each seq that 64 divides, when the queue had no later event of the statement. The
# parts give the same seals. Nearly every statement has one event and completes no part: it only inserts.
_BY_STATEMENT = """
    CREATE OR REPLACE FUNCTION bazar.audit_queue_events() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        part record;
    BEGIN
        IF NOT EXISTS (SELECT FROM written w WHERE w.seq % 64 = 0) THEN
            INSERT INTO bazar.audit_unsealed (seq, event_id) SELECT w.seq, w.id FROM written w;
            RETURN NULL;
        END IF;
        FOR part IN
            SELECT array_agg(w.seq) AS seqs, array_agg(w.id) AS ids, bool_or(w.seq % 64 = 0) AS complete
            FROM written w GROUP BY (w.seq - 1) / 64 ORDER BY (w.seq - 1) / 64
        LOOP
            INSERT INTO bazar.audit_unsealed (seq, event_id) SELECT * FROM unnest(part.seqs, part.ids);
            IF part.complete THEN
                PERFORM bazar.seal_audit(1);
            END IF;
        END LOOP;
        RETURN NULL;
    END $$
"""
_BY_ROW = """
    CREATE OR REPLACE FUNCTION bazar.audit_queue_event() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        INSERT INTO bazar.audit_unsealed (seq, event_id) VALUES (NEW.seq, NEW.id);
        IF NEW.seq % 64 = 0 THEN
            PERFORM bazar.seal_audit(1);
        END IF;
        RETURN NULL;
    END $$
"""


def upgrade() -> None:
    _replace(
        "audit_queue_event", "audit_queue_events", _BY_STATEMENT, "REFERENCING NEW TABLE AS written FOR EACH STATEMENT"
    )


def downgrade() -> None:
    _replace("audit_queue_events", "audit_queue_event", _BY_ROW, "FOR EACH ROW")


def _replace(former: str, name: str, function: str, how: str) -> None:
    """Replace the trigger and its function. A writer waits for the lock of DROP TRIGGER, and then uses the new ones.

    A trigger that somebody dropped or disabled fires again; `bazar audit verify` names the events written without it.
    """
    op.execute("DROP TRIGGER IF EXISTS audit_events_queue ON bazar.audit_events")
    # A renamed function keeps its privileges: revision 0002 revoked them.
    op.execute(f"ALTER FUNCTION bazar.{former}() RENAME TO {name}")
    op.execute(function)
    op.execute(
        f"CREATE TRIGGER audit_events_queue AFTER INSERT ON bazar.audit_events {how} EXECUTE FUNCTION bazar.{name}()"
    )
