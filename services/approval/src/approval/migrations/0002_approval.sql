-- The service's own tables. What must never happen is refused here, whoever writes: a change of what was answered,
-- an illegal move, a state without its audit row in the same transaction, a rewritten audit, a deleted application.

CREATE TABLE approval.legal_transition (
    from_state  text,
    to_state    text NOT NULL,
    UNIQUE NULLS NOT DISTINCT (from_state, to_state)
);
INSERT INTO approval.legal_transition VALUES
    (NULL, 'approved'), (NULL, 'rejected'), (NULL, 'manual_review'),
    ('manual_review', 'approved'), ('manual_review', 'rejected'), ('rejected', 'manual_review');

CREATE TABLE approval.application (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key          uuid NOT NULL UNIQUE,
    digest       char(64) NOT NULL CHECK (digest ~ '^[0-9a-f]{64}$'),
    id_number    char(18) NOT NULL,
    name         text NOT NULL,
    decision     text NOT NULL CHECK (decision IN ('approved', 'rejected', 'manual_review')),
    reason_code  text NOT NULL,
    decided_at   timestamptz NOT NULL,
    state        text NOT NULL CHECK (state IN ('approved', 'rejected', 'manual_review')),
    site         text NOT NULL,
    synthetic    boolean NOT NULL CHECK (synthetic = (id_number LIKE '99%')),
    body         jsonb NOT NULL
);
-- One open or successful case per person, also when two requests race.
CREATE UNIQUE INDEX application_one_case ON approval.application (id_number) WHERE state IN ('approved', 'manual_review');

CREATE TABLE approval.audit (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    application_id  bigint,
    key             uuid,
    event           text NOT NULL CHECK (event IN ('decided', 'replayed', 'key_reused', 'reviewed', 'purged')),
    from_state      text,
    to_state        text,
    reason_code     text,
    actor           text NOT NULL,
    site            text NOT NULL,
    at              timestamptz NOT NULL DEFAULT clock_timestamp(),
    transaction_id  xid8 NOT NULL DEFAULT pg_current_xact_id(),
    detail          jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_application ON approval.audit (application_id);

CREATE TABLE approval.outbox (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    application_id  bigint NOT NULL REFERENCES approval.application (id) ON DELETE CASCADE,
    channel         text NOT NULL CHECK (channel = 'sms'),
    template        text NOT NULL,
    suppressed      boolean NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    sent_at         timestamptz,
    CHECK (NOT (suppressed AND sent_at IS NOT NULL))
);
CREATE INDEX outbox_application ON approval.outbox (application_id);
CREATE INDEX outbox_waiting ON approval.outbox (id) WHERE sent_at IS NULL AND NOT suppressed;

-- One row per site, written every second: proves that this site can write, and dates what a standby shows.
CREATE TABLE approval.pulse (
    site  text PRIMARY KEY,
    beat  bigint NOT NULL,
    at    timestamptz NOT NULL
) WITH (fillfactor = 50);

-- What the registers were filled with, so that filling them again changes nothing.
CREATE TABLE approval.register_load (
    only_row   boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    seed       bigint NOT NULL,
    people     bigint NOT NULL,
    generator  integer NOT NULL,
    loaded_at  timestamptz NOT NULL DEFAULT now()
);

CREATE FUNCTION approval.guard_application() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    before text := CASE TG_OP WHEN 'UPDATE' THEN OLD.state END;
BEGIN
    IF TG_OP = 'INSERT' AND NEW.state <> NEW.decision THEN
        RAISE EXCEPTION 'a new application is in state %, not in its decision %', NEW.state, NEW.decision
            USING ERRCODE = 'check_violation';
    END IF;
    IF TG_OP = 'UPDATE' THEN
        IF (to_jsonb(NEW) - 'state') <> (to_jsonb(OLD) - 'state') THEN
            RAISE EXCEPTION 'application %: only its state may change', OLD.id USING ERRCODE = 'check_violation';
        END IF;
        IF NEW.state = OLD.state THEN
            RETURN NEW;
        END IF;
    END IF;
    IF NOT EXISTS (SELECT FROM approval.legal_transition t
                   WHERE t.from_state IS NOT DISTINCT FROM before AND t.to_state = NEW.state) THEN
        RAISE EXCEPTION 'application %: illegal transition % -> %', NEW.id, coalesce(before, 'new'), NEW.state
            USING ERRCODE = 'check_violation', CONSTRAINT = 'legal_transition';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard BEFORE INSERT OR UPDATE ON approval.application
    FOR EACH ROW EXECUTE FUNCTION approval.guard_application();

CREATE FUNCTION approval.require_audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.state = OLD.state THEN
        RETURN NULL;
    END IF;
    IF NOT EXISTS (SELECT FROM approval.audit a
                   WHERE a.application_id = NEW.id AND a.to_state = NEW.state
                     AND a.transaction_id = pg_current_xact_id()) THEN
        RAISE EXCEPTION 'application %: no audit row for state % in this transaction', NEW.id, NEW.state
            USING ERRCODE = 'check_violation', CONSTRAINT = 'audit_in_same_transaction';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER audited AFTER INSERT OR UPDATE ON approval.application
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION approval.require_audit();

CREATE FUNCTION approval.refuse_delete() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT OLD.synthetic THEN
        RAISE EXCEPTION 'application %: applications of real people are never deleted', OLD.id
            USING ERRCODE = 'check_violation';
    END IF;
    IF NOT EXISTS (SELECT FROM approval.audit a
                   WHERE a.event = 'purged' AND a.transaction_id = pg_current_xact_id()) THEN
        RAISE EXCEPTION 'synthetic applications are purged with an audit row in the same transaction'
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN OLD;
END $$;
CREATE TRIGGER keep BEFORE DELETE ON approval.application
    FOR EACH ROW EXECUTE FUNCTION approval.refuse_delete();

CREATE FUNCTION approval.append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%: % is refused, rows are only added', TG_TABLE_NAME, TG_OP USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON approval.audit
    FOR EACH ROW EXECUTE FUNCTION approval.append_only();
CREATE TRIGGER keep_all BEFORE TRUNCATE ON approval.audit EXECUTE FUNCTION approval.append_only();
CREATE TRIGGER keep_all BEFORE TRUNCATE ON approval.application EXECUTE FUNCTION approval.append_only();

GRANT USAGE ON SCHEMA approval TO approval_app;
GRANT SELECT ON approval.legal_transition TO approval_app;
GRANT SELECT, INSERT ON approval.application, approval.audit, approval.outbox TO approval_app;
GRANT SELECT, INSERT, UPDATE ON approval.pulse TO approval_app;
