-- The registers of the three agencies. Each schema belongs to its agency's own role (NOLOGIN, made by the database
-- role of the estate); the service never reads a table of theirs, only the views they share.

CREATE SCHEMA human_resources AUTHORIZATION human_resources;
CREATE SCHEMA development_reform AUTHORIZATION development_reform;
CREATE SCHEMA public_security AUTHORIZATION public_security;

SET LOCAL ROLE public_security;
CREATE TABLE public_security.resident (
    id_number          char(18) PRIMARY KEY,
    name               text NOT NULL,
    status             text NOT NULL CHECK (status IN ('active', 'cancelled', 'deceased')),
    household_city     text NOT NULL,
    household_address  text NOT NULL,
    updated_at         timestamptz NOT NULL DEFAULT now()
);
CREATE VIEW public_security.shared_resident WITH (security_barrier) AS
    SELECT id_number, name, status = 'active' AS active, household_city = '深圳市' AS shenzhen_household
    FROM public_security.resident;
GRANT USAGE ON SCHEMA public_security TO approval_app;
GRANT SELECT ON public_security.shared_resident TO approval_app;

SET LOCAL ROLE human_resources;
CREATE TABLE human_resources.degree (
    id_number       char(18) PRIMARY KEY,
    level           text NOT NULL CHECK (level IN ('bachelor', 'master', 'doctor')),
    university      text NOT NULL,
    graduated_year  smallint NOT NULL,
    certificate     text NOT NULL UNIQUE,
    updated_at      timestamptz NOT NULL DEFAULT now()
);
CREATE VIEW human_resources.shared_degree WITH (security_barrier) AS
    SELECT id_number, level, university, graduated_year FROM human_resources.degree;
GRANT USAGE ON SCHEMA human_resources TO approval_app;
GRANT SELECT ON human_resources.shared_degree TO approval_app;

SET LOCAL ROLE development_reform;
CREATE TABLE development_reform.admission_plan (
    district        text PRIMARY KEY,
    open            boolean NOT NULL,
    graduated_from  smallint NOT NULL,
    graduated_to    smallint NOT NULL CHECK (graduated_to >= graduated_from)
);
CREATE TABLE development_reform.credit_record (
    id_number  char(18) PRIMARY KEY,
    cause      text NOT NULL,
    listed_on  date NOT NULL
);
CREATE VIEW development_reform.shared_plan AS
    SELECT district, open, graduated_from, graduated_to FROM development_reform.admission_plan;
CREATE VIEW development_reform.shared_credit WITH (security_barrier) AS
    SELECT id_number FROM development_reform.credit_record;
GRANT USAGE ON SCHEMA development_reform TO approval_app;
GRANT SELECT ON development_reform.shared_plan, development_reform.shared_credit TO approval_app;

RESET ROLE;
