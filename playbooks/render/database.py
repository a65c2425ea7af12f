"""The SQL that creates the cluster's databases, roles and rights. Each statement can be repeated.

Passwords never reach the database. The statements contain SCRAM verifiers, computed here. Their salt is derived from
name and password, so that the same input gives the same text.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode

from playbooks.secrets import Passwords

DATABASE = "approval"
OWNER = "approval_owner"
APP = "approval_app"
REPLICATOR = "replicator"
AGENCIES = ("human_resources", "development_reform", "public_security")
"""Roles that own the registers. They cannot log in."""

ITERATIONS = 4096
"""The default of PostgreSQL 15."""


def verifier(name: str, password: str) -> str:
    """Return `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`, RFC 5803, as in pg_authid. ASCII passwords only."""
    salt = hashlib.sha256(f"govcloud {name} {password}".encode("ascii")).digest()[:16]
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    return f"SCRAM-SHA-256${ITERATIONS}:{_text(salt)}${_text(stored)}:{_text(server)}"


def statements(passwords: Passwords) -> str:
    """Return a psql script for the superuser on the primary."""
    logins = {
        REPLICATOR: (passwords.replication, "LOGIN REPLICATION"),
        OWNER: (passwords.approval_owner, "LOGIN"),
        APP: (passwords.approval_app, "LOGIN"),
    }
    lines = [
        "-- Databases, roles and rights. Written by govcloud, role postgresql; run on the primary, may be repeated."
    ]
    for name, (password, options) in logins.items():
        lines += [_create(name), _login(name, options, verifier(name, password))]
    lines += [_create(agency) for agency in AGENCIES]
    lines += [f"ALTER ROLE {agency} NOLOGIN;" for agency in AGENCIES]
    lines += [
        f"GRANT {', '.join(AGENCIES)} TO {OWNER};",
        _unless(f"SELECT FROM pg_database WHERE datname = '{DATABASE}'", f"CREATE DATABASE {DATABASE} OWNER {OWNER}"),
        f"REVOKE ALL ON DATABASE {DATABASE} FROM PUBLIC;",
        f"GRANT CONNECT ON DATABASE {DATABASE} TO {APP};",
        "REVOKE CONNECT ON DATABASE postgres, template1 FROM PUBLIC;",
        f"GRANT CONNECT ON DATABASE postgres TO {REPLICATOR};",
        f"\\connect {DATABASE}",
        "REVOKE ALL ON SCHEMA public FROM PUBLIC;",
    ]
    return "\n".join(lines) + "\n"


def _create(name: str) -> str:
    return _unless(f"SELECT FROM pg_roles WHERE rolname = '{name}'", f"CREATE ROLE {name}")


def _login(name: str, options: str, secret: str) -> str:
    alter = f"ALTER ROLE {name} {options} PASSWORD ''{secret}''"
    return (
        f"SELECT '{alter}' FROM pg_authid WHERE rolname = '{name}'"
        f" AND (NOT rolcanlogin OR rolpassword IS DISTINCT FROM '{secret}') \\gexec"
    )


def _unless(exists: str, act: str) -> str:
    return f"SELECT '{act}' WHERE NOT EXISTS ({exists}) \\gexec"


def _text(value: bytes) -> str:
    return b64encode(value).decode()
