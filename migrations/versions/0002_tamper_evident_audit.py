"""Audit events that are append-only, hashed and sealed in a chain.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

from alembic import op

revision: str = "0002"
down_revision: str | tuple[str, ...] | None = "0001"
branch_labels: str | tuple[str, ...] | None = None
depends_on: str | tuple[str, ...] | None = None

# One canonical form of an event, whatever TimeZone, DateStyle or search_path say. JSON goes in as text, so that a
# JSON null and no value differ. `bazar audit verify` has this expression too and trusts none that is stored here.
_HASH = """sha256(convert_to(jsonb_build_array(
            {0}id, {0}seq, to_char({0}occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US BC'),
            {0}operator_id, {0}operator_email, {0}use_case, {0}outcome, {0}target_type, {0}target_id,
            {0}organization_id, {0}before::text, {0}after::text, {0}reason, {0}request_id)::text, 'UTF8'))"""

_EVENTS = (
    "ALTER TABLE bazar.audit_events ADD COLUMN hash bytea",
    f"UPDATE bazar.audit_events SET hash = {_HASH.format('')}",  # noqa: S608 - a constant
    "ALTER TABLE bazar.audit_events ALTER COLUMN hash SET NOT NULL",
)

_TABLES = (
    # What no seal holds yet. A queue and no mark on the event: events never change.
    """
    CREATE TABLE bazar.audit_unsealed (
        seq bigint NOT NULL,
        event_id uuid NOT NULL,
        CONSTRAINT audit_unsealed_pkey PRIMARY KEY (seq)
    )
    """,
    # entries: 16 bytes of id and 32 of hash for each event, in the order of seq.
    """
    CREATE TABLE bazar.audit_seals (
        position bigint NOT NULL,
        previous bytea NOT NULL,
        sealed_at timestamptz NOT NULL,
        events integer NOT NULL,
        entries bytea NOT NULL,
        hash bytea NOT NULL,
        CONSTRAINT audit_seals_pkey PRIMARY KEY (position),
        CONSTRAINT audit_seals_hash_key UNIQUE (hash),
        CONSTRAINT audit_seals_entries_check CHECK (events > 0 AND length(entries) = events * 48)
    )
    """,
    # Hashes do not compress, and uncompressed they are read in slices.
    "ALTER TABLE bazar.audit_seals ALTER COLUMN entries SET STORAGE EXTERNAL",
)

# Each filter of `audit list` finds its rows in the list's order: a page costs the same wherever it is.
_INDEXES = (
    "CREATE INDEX audit_events_occurred_at_seq_idx ON bazar.audit_events (occurred_at, seq)",
    "CREATE INDEX audit_events_operator_id_occurred_at_seq_idx ON bazar.audit_events (operator_id, occurred_at, seq)",
    """
    CREATE INDEX audit_events_operator_email_occurred_at_seq_idx
    ON bazar.audit_events (operator_email, occurred_at, seq)
    """,
    "CREATE INDEX audit_events_target_id_occurred_at_seq_idx ON bazar.audit_events (target_id, occurred_at, seq)",
    """
    CREATE INDEX audit_events_organization_id_occurred_at_seq_idx
    ON bazar.audit_events (organization_id, occurred_at, seq)
    """,
    "CREATE INDEX audit_events_use_case_occurred_at_seq_idx ON bazar.audit_events (use_case, occurred_at, seq)",
    "CREATE INDEX audit_events_outcome_occurred_at_seq_idx ON bazar.audit_events (outcome, occurred_at, seq)",
    "CREATE INDEX audit_events_request_id_idx ON bazar.audit_events (request_id)",
    # Whom an event names: those who are gone have a name nowhere else.
    """
    CREATE INDEX audit_events_name_before_idx ON bazar.audit_events ((coalesce(before ->> 'email', before ->> 'slug')))
    WHERE (coalesce(before ->> 'email', before ->> 'slug')) IS NOT NULL
    """,
    """
    CREATE INDEX audit_events_name_after_idx ON bazar.audit_events ((coalesce(after ->> 'email', after ->> 'slug')))
    WHERE (coalesce(after ->> 'email', after ->> 'slug')) IS NOT NULL
    """,
)
_FORMER_INDEXES = {
    "audit_events_occurred_at_idx": "occurred_at",
    "audit_events_operator_id_idx": "operator_id",
    "audit_events_target_id_idx": "target_id",
    "audit_events_organization_id_idx": "organization_id",
}

_FUNCTIONS = (
    """
    CREATE FUNCTION bazar.audit_refuse_change() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        RAISE EXCEPTION '% on bazar.% is refused: the audit log is append-only', TG_OP, TG_TABLE_NAME
            USING ERRCODE = 'restrict_violation';
    END $$
    """,
    f"""
    CREATE FUNCTION bazar.audit_hash_event() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        NEW.hash := {_HASH.format("NEW.")};
        RETURN NEW;
    END $$
    """,
    # Whoever seals holds a lock that nobody waits for: it is free again once the seal can be seen, and a statement
    # after it sees the last seal. Where statements share one snapshot they would not: nothing is sealed there.
    # Events of transactions that are still open cannot be seen, stay in the queue, and come into a later seal.
    # OFFSET 0 has each event looked up by its key, whatever the statistics say: a seal costs the same in a long log.
    """
    CREATE FUNCTION bazar.seal_audit(batches integer) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        total bigint := 0;
        this bazar.audit_seals;
    BEGIN
        IF current_setting('transaction_isolation') <> 'read committed'
            OR NOT pg_try_advisory_xact_lock(7089081847457802612) THEN
            RETURN 0;
        END IF;
        SELECT s.position, s.hash INTO this.position, this.previous
        FROM bazar.audit_seals s ORDER BY s.position DESC LIMIT 1;
        this.position := coalesce(this.position, 0);
        this.previous := coalesce(this.previous, decode(repeat('00', 32), 'hex'));
        FOR batch IN 1 .. coalesce(batches, 2147483647) LOOP
            WITH due AS (
                SELECT q.ctid AS place, q.seq, e.id, e.hash
                FROM bazar.audit_unsealed q CROSS JOIN LATERAL (
                    SELECT a.id, a.hash FROM bazar.audit_events a WHERE a.id = q.event_id AND a.seq = q.seq OFFSET 0) e
                ORDER BY q.seq LIMIT 1000
            ), taken AS (
                DELETE FROM bazar.audit_unsealed q USING due WHERE q.ctid = due.place
                RETURNING due.seq, due.id, due.hash
            )
            SELECT count(*), string_agg(uuid_send(t.id) || t.hash, ''::bytea ORDER BY t.seq)
            INTO this.events, this.entries FROM taken t;
            EXIT WHEN this.events = 0;
            this.position := this.position + 1;
            this.sealed_at := clock_timestamp();
            this.hash := sha256(int8send(this.position) || this.previous
                || convert_to(to_char(this.sealed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US BC'), 'UTF8')
                || this.entries);
            INSERT INTO bazar.audit_seals (position, previous, sealed_at, events, entries, hash)
            VALUES (this.position, this.previous, this.sealed_at, this.events, this.entries, this.hash);
            this.previous := this.hash;
            total := total + this.events;
        END LOOP;
        RETURN total;
    END $$
    """,
    """
    CREATE FUNCTION bazar.audit_queue_event() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        INSERT INTO bazar.audit_unsealed (seq, event_id) VALUES (NEW.seq, NEW.id);
        IF NEW.seq % 64 = 0 THEN
            PERFORM bazar.seal_audit(1);
        END IF;
        RETURN NULL;
    END $$
    """,
)

_APPEND_ONLY = ("audit_events", "audit_seals")
_TRIGGERS = (
    """
    CREATE TRIGGER audit_events_hash BEFORE INSERT ON bazar.audit_events
    FOR EACH ROW EXECUTE FUNCTION bazar.audit_hash_event()
    """,
    """
    CREATE TRIGGER audit_events_queue AFTER INSERT ON bazar.audit_events
    FOR EACH ROW EXECUTE FUNCTION bazar.audit_queue_event()
    """,
    *(
        f"""
        CREATE TRIGGER {table}_refuse_change BEFORE UPDATE OR DELETE ON bazar.{table}
        FOR EACH ROW EXECUTE FUNCTION bazar.audit_refuse_change()
        """
        for table in _APPEND_ONLY
    ),
    *(
        f"""
        CREATE TRIGGER {table}_refuse_truncate BEFORE TRUNCATE ON bazar.{table}
        FOR EACH STATEMENT EXECUTE FUNCTION bazar.audit_refuse_change()
        """
        for table in _APPEND_ONLY
    ),
    # Also for a session that replays what another server did (session_replication_role).
    *(
        f"ALTER TABLE bazar.{table} ENABLE ALWAYS TRIGGER {table}_refuse_{what}"
        for table in _APPEND_ONLY
        for what in ("change", "truncate")
    ),
)

_CALLS = ("audit_refuse_change()", "audit_hash_event()", "audit_queue_event()", "seal_audit(integer)")

# Supabase's data API speaks as these roles; where they do not exist there is nothing to take away.
_REVOKE = """
    DO $$ DECLARE name text; BEGIN
        FOREACH name IN ARRAY ARRAY['anon', 'authenticated'] LOOP
            IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = name) THEN
                EXECUTE format('REVOKE ALL ON bazar.audit_unsealed, bazar.audit_seals FROM %I', name);
                EXECUTE format('REVOKE ALL ON FUNCTION bazar.audit_refuse_change(), bazar.audit_hash_event(),'
                               ' bazar.audit_queue_event(), bazar.seal_audit(integer) FROM %I', name);
            END IF;
        END LOOP;
    END $$
"""


def upgrade() -> None:
    for statement in (*_EVENTS, *_TABLES):
        op.execute(statement)
    for index in _FORMER_INDEXES:
        op.execute(f"DROP INDEX bazar.{index}")
    for statement in (*_INDEXES, *_FUNCTIONS):
        op.execute(statement)
    for table in ("audit_unsealed", "audit_seals"):
        op.execute(f"ALTER TABLE bazar.{table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"REVOKE ALL ON bazar.{table} FROM PUBLIC")
    for call in _CALLS:
        op.execute(f"REVOKE ALL ON FUNCTION bazar.{call} FROM PUBLIC")
    op.execute(_REVOKE)
    op.execute("INSERT INTO bazar.audit_unsealed (seq, event_id) SELECT seq, id FROM bazar.audit_events")
    op.execute("SELECT bazar.seal_audit(NULL)")
    for statement in _TRIGGERS:
        op.execute(statement)


def downgrade() -> None:
    for table in _APPEND_ONLY:
        for what in ("change", "truncate"):
            op.execute(f"DROP TRIGGER {table}_refuse_{what} ON bazar.{table}")
    for trigger in ("hash", "queue"):
        op.execute(f"DROP TRIGGER audit_events_{trigger} ON bazar.audit_events")
    for call in _CALLS:
        op.execute(f"DROP FUNCTION bazar.{call}")
    op.execute("DROP TABLE bazar.audit_seals")
    op.execute("DROP TABLE bazar.audit_unsealed")
    for statement in _INDEXES:
        name = statement.split("CREATE INDEX ")[1].split()[0]
        op.execute(f"DROP INDEX bazar.{name}")
    op.execute("ALTER TABLE bazar.audit_events DROP COLUMN hash")
    for index, column in _FORMER_INDEXES.items():
        op.execute(f"CREATE INDEX {index} ON bazar.audit_events ({column})")
