"""The SQL that creates the cluster's databases, roles and rights. Each statement can be repeated.

Passwords never reach the database. The statements contain SCRAM verifiers, computed here. Their salt is derived from
name and password, so that the same input gives the same text.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Mapping

from contracts.model import Database
from estate.model import Estate
from playbooks.secrets import REPLICATION

REPLICATOR = "replicator"

ITERATIONS = 4096
"""The default of PostgreSQL 15."""


def verifier(name: str, password: str) -> str:
    """Return `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`, RFC 5803, as in pg_authid. ASCII passwords only."""
    salt = hashlib.sha256(f"govcloud {name} {password}".encode("ascii")).digest()[:16]
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    return f"SCRAM-SHA-256${ITERATIONS}:{_text(salt)}${_text(stored)}:{_text(server)}"


def logins(estate: Estate) -> dict[str, tuple[str, ...]]:
    """Return the logins of each database: its owner, then the logins of the services that use it."""
    found: dict[str, tuple[str, ...]] = {database.name: (owner,) for owner, database in _owned(estate)}
    for service in estate.services:
        if database := service.contract.database:
            found[database.name] = (*found[database.name], database.login)
    return found


def _owned(estate: Estate) -> list[tuple[str, Database]]:
    """Return the databases with their owners, in the order of the services."""
    declared = (service.contract.database for service in estate.services)
    return [(database.owner, database) for database in declared if database and database.owner]


def statements(estate: Estate, passwords: Mapping[str, str]) -> str:
    """Return a psql script for the superuser on the primary. `passwords` are by login."""
    users = logins(estate)
    names = dict.fromkeys(name for own in users.values() for name in own)
    accounts = {REPLICATOR: (passwords[REPLICATION], "LOGIN REPLICATION")}
    accounts |= {name: (passwords[name], "LOGIN") for name in names}
    lines = [
        "-- Databases, roles and rights. Written by govcloud, role postgresql; run on the primary, may be repeated."
    ]
    for name, (password, options) in accounts.items():
        lines += [_create(name), _login(name, options, verifier(name, password))]
    for owner, database in _owned(estate):
        if database.roles:
            lines += [_create(role) for role in database.roles]
            lines += [f"ALTER ROLE {role} NOLOGIN;" for role in database.roles]
            lines.append(f"GRANT {', '.join(database.roles)} TO {owner};")
    for owner, database in _owned(estate):
        name, others = database.name, [login for login in users[database.name] if login != owner]
        exists = f"SELECT FROM pg_database WHERE datname = '{name}'"
        lines += [
            _unless(exists, f"CREATE DATABASE {name} OWNER {owner}"),
            f"REVOKE ALL ON DATABASE {name} FROM PUBLIC;",
            f"GRANT CONNECT ON DATABASE {name} TO {', '.join(others)};",
        ]
    lines += [
        "REVOKE CONNECT ON DATABASE postgres, template1 FROM PUBLIC;",
        f"GRANT CONNECT ON DATABASE postgres TO {REPLICATOR};",
    ]
    for name in users:
        lines += [f"\\connect {name}", "REVOKE ALL ON SCHEMA public FROM PUBLIC;"]
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
