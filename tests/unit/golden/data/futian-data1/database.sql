-- Databases, roles and rights. Written by govcloud, role postgresql; run on the primary, may be repeated.
SELECT 'CREATE ROLE replicator' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'replicator') \gexec
SELECT 'ALTER ROLE replicator LOGIN REPLICATION PASSWORD ''SCRAM-SHA-256$4096:vlauKn4sLD93iIBoW+fP+g==$7L4CC9nyxudj4hkC4Gxic3hrTs7BlthzSmQjinAVUTI=:ewZUA+skPP1fccE0trSxVVgF6x/1aohyS2iMF+ga+Jo=''' FROM pg_authid WHERE rolname = 'replicator' AND (NOT rolcanlogin OR rolpassword IS DISTINCT FROM 'SCRAM-SHA-256$4096:vlauKn4sLD93iIBoW+fP+g==$7L4CC9nyxudj4hkC4Gxic3hrTs7BlthzSmQjinAVUTI=:ewZUA+skPP1fccE0trSxVVgF6x/1aohyS2iMF+ga+Jo=') \gexec
SELECT 'CREATE ROLE approval_owner' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'approval_owner') \gexec
SELECT 'ALTER ROLE approval_owner LOGIN PASSWORD ''SCRAM-SHA-256$4096:5OjW4yVB1ml6NrgYtOPjTw==$bXNUTsWqJkxfeqRnUFaeXu3T0FDgUtWFvmrR7ldw5aw=:AumHCRxx5gcuOUQtz7cnWI3MlOQdnNBlPTaeutuqyz4=''' FROM pg_authid WHERE rolname = 'approval_owner' AND (NOT rolcanlogin OR rolpassword IS DISTINCT FROM 'SCRAM-SHA-256$4096:5OjW4yVB1ml6NrgYtOPjTw==$bXNUTsWqJkxfeqRnUFaeXu3T0FDgUtWFvmrR7ldw5aw=:AumHCRxx5gcuOUQtz7cnWI3MlOQdnNBlPTaeutuqyz4=') \gexec
SELECT 'CREATE ROLE approval_app' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'approval_app') \gexec
SELECT 'ALTER ROLE approval_app LOGIN PASSWORD ''SCRAM-SHA-256$4096:C7EIwxK/41HP4bPcojYRdg==$xPvTTiKAUwyeE92liggIYwg8FjwSalV6qONPdCcJeXA=:hERx7SVR9Nwv1mIK6C0ZB5VxsCYvShBkjv15dynx/C0=''' FROM pg_authid WHERE rolname = 'approval_app' AND (NOT rolcanlogin OR rolpassword IS DISTINCT FROM 'SCRAM-SHA-256$4096:C7EIwxK/41HP4bPcojYRdg==$xPvTTiKAUwyeE92liggIYwg8FjwSalV6qONPdCcJeXA=:hERx7SVR9Nwv1mIK6C0ZB5VxsCYvShBkjv15dynx/C0=') \gexec
SELECT 'CREATE ROLE human_resources' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'human_resources') \gexec
SELECT 'CREATE ROLE development_reform' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'development_reform') \gexec
SELECT 'CREATE ROLE public_security' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'public_security') \gexec
ALTER ROLE human_resources NOLOGIN;
ALTER ROLE development_reform NOLOGIN;
ALTER ROLE public_security NOLOGIN;
GRANT human_resources, development_reform, public_security TO approval_owner;
SELECT 'CREATE DATABASE approval OWNER approval_owner' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'approval') \gexec
REVOKE ALL ON DATABASE approval FROM PUBLIC;
GRANT CONNECT ON DATABASE approval TO approval_app;
REVOKE CONNECT ON DATABASE postgres, template1 FROM PUBLIC;
GRANT CONNECT ON DATABASE postgres TO replicator;
\connect approval
REVOKE ALL ON SCHEMA public FROM PUBLIC;
