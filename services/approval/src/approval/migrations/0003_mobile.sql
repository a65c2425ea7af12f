-- The applicant's mobile number, for the message about the decision. It is optional: NULL means that the applicant
-- gave none, and so do rows of the previous release, which runs on this schema during a rolling update.
--
-- Safe on a running database: nullable columns without a default and constraints that are not validated neither
-- rewrite nor scan a table. New rows are checked. approval.schema limits the wait for the table locks.

ALTER TABLE approval.application ADD COLUMN mobile text;
ALTER TABLE approval.application ADD CONSTRAINT application_mobile
    CHECK (mobile ~ '^1[3-9][0-9]{9}$' AND (mobile LIKE '154%') = synthetic) NOT VALID;

-- The outbox has all that a message needs, so that the message service never reads an application.
ALTER TABLE approval.outbox ADD COLUMN mobile text;
ALTER TABLE approval.outbox ADD CONSTRAINT outbox_mobile CHECK (mobile ~ '^1[3-9][0-9]{9}$') NOT VALID;

COMMENT ON COLUMN approval.application.mobile IS 'mainland mobile number of 11 digits, as normalised by approval.identity';
COMMENT ON COLUMN approval.outbox.mobile IS 'recipient; the message service erases it when it takes the row over';
COMMENT ON COLUMN approval.outbox.sent_at IS 'when the message service took the row over for delivery';
COMMENT ON COLUMN approval.outbox.suppressed IS 'no message is ever sent: a synthetic person, or no mobile number';
