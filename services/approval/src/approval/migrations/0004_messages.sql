-- The message service's own schema (services/messages). It is here because it must change in one transaction with the
-- outbox, and this service owns the database. approval.schema grants the service's login what it needs.
--
-- Safe on a running database: the table is new and empty. Its foreign key locks the outbox only for this transaction.

CREATE SCHEMA messages;

CREATE TABLE messages.delivery (
    id               uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    outbox_id        bigint NOT NULL UNIQUE REFERENCES approval.outbox (id) ON DELETE CASCADE,
    application_id   bigint NOT NULL,
    template         text NOT NULL,
    mobile           text,
    created_at       timestamptz NOT NULL,
    state            text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'sent', 'delivered', 'failed')),
    attempts         integer NOT NULL DEFAULT 0,
    next_attempt_at  timestamptz NOT NULL DEFAULT now(),
    sent_at          timestamptz,
    finished_at      timestamptz,
    reason           text,
    CHECK ((state = 'pending') = (mobile IS NOT NULL))
) WITH (fillfactor = 70);

COMMENT ON COLUMN messages.delivery.id IS 'message ID: the same in every attempt, so that the carrier and we recognise a repetition';
COMMENT ON COLUMN messages.delivery.mobile IS 'recipient, only until the carrier has the message';
COMMENT ON COLUMN messages.delivery.created_at IS 'when the decision was made';
COMMENT ON COLUMN messages.delivery.next_attempt_at IS 'time of the next attempt; during an attempt the end of its lease';

CREATE INDEX delivery_due ON messages.delivery (next_attempt_at) WHERE state = 'pending';
CREATE INDEX delivery_order ON messages.delivery (application_id, outbox_id) WHERE state = 'pending';
CREATE INDEX delivery_age ON messages.delivery (created_at) WHERE state = 'pending';
CREATE INDEX delivery_without_receipt ON messages.delivery (sent_at) WHERE state = 'sent';
