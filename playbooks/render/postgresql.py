"""PostgreSQL under Patroni: one member per database host, quorum commit, TLS only.

The settings together have this effect. A commit is acknowledged once any one standby outside the primary's site has it
on disk (`ANY 1`, strict: without a standby no commit is acknowledged). The member at the site that only acknowledges
never initialises a cluster. It never becomes primary without an operator's approval: it has the lowest priority, and
the guard runs before a promotion. No program rewinds data: a diverged member first keeps its fork, then takes a base
backup (`playbooks/host_programs/rejoin.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml

from estate.addressing import AddressPlan, Dual
from estate.model import Estate, Host, HostRole
from facts import ports
from facts.host_paths import POSTGRESQL_PROGRAMS, POSTGRESQL_VERSION, data_folder, kept_forks
from playbooks import host_programs
from playbooks.host_spec import Account, File, RoleSpec, Unit
from playbooks.render import database, etcd, pki
from playbooks.render.text import header_comment
from playbooks.secrets import REPLICATION, Secrets

PORT = ports.POSTGRESQL
REST_PORT = ports.PATRONI
SOCKETS = "/var/run/postgresql"
DIRECTORY = "/etc/govcloud/postgresql"
RUNTIME = "/run/govcloud-patroni"
VENV = "/opt/govcloud/patroni"
UNIT = "patroni.service"

GUARD = f"{host_programs.DIRECTORY}/promotion-guard"
REJOIN = f"{host_programs.DIRECTORY}/rejoin"
SETTLE = f"{host_programs.DIRECTORY}/database-settle"
TOKEN = f"{DIRECTORY}/takeover.json"
"""An operator's approval to promote a member that only acknowledges; see `host_programs/promotion_guard.py`."""

GUARD_WAIT_S = 15
GUARD_SILENT_S = 5
"""How long the guard waits for a promotable member to catch up, and how long for any answer at all."""

MAX_CONNECTIONS = 120
READY_WAIT_S = 120
PROMOTABLE_PRIORITY, ACKNOWLEDGING_PRIORITY = 100, 1

_MIB = 1024 * 1024


def role_spec(estate: Estate, plan: AddressPlan, host: Host, secrets: Secrets) -> RoleSpec:
    """Return the member on `host`.

    The role pki installs its certificates. Raise ValueError for a host without a database.
    """
    if not host.database:
        raise ValueError(f"{host.name} has no member of the database")
    restart, reload = (f"restart:{UNIT}",), (f"reload:{UNIT}",)
    files = [
        File(path=REJOIN, text=host_programs.source("rejoin"), mode="0755"),
        File(path=SETTLE, text=host_programs.source("database_bootstrap"), mode="0755"),
        File(path=f"{DIRECTORY}/database.json", text=settle_settings(estate, plan, host)),
        _secret("database.sql", database.statements(estate, secrets.passwords)),
        File(path=f"{DIRECTORY}/patronictl.yml", text=ctl_settings(estate, plan)),
    ]
    if host.at in estate.database.acknowledging:
        files += [
            File(path=GUARD, text=host_programs.source("promotion_guard"), mode="0755"),
            File(path=f"{DIRECTORY}/guard.json", text=guard_settings(estate, plan, host)),
        ]
    files += [
        _secret("patroni.yml", patroni(estate, plan, host, secrets.passwords), notify=reload),
        File(path=f"/etc/systemd/system/{UNIT}", text=unit(host), notify=restart),
    ]
    return RoleSpec(
        role="postgresql",
        settings={"ready_wait_s": READY_WAIT_S},
        files=tuple(files),
        units=(Unit(name="postgresql.service", enabled=False, active=False), Unit(name=UNIT)),
        live=("runuser", "-u", "postgres", "--", SETTLE, "--compare"),
        accounts=(Account(name="postgres", groups=(pki.GROUP,), shell="/bin/bash", home="/var/lib/postgresql"),),
    )


def _secret(name: str, text: str, notify: tuple[str, ...] = ()) -> File:
    """Return a file that contains passwords. Only PostgreSQL's own account reads it."""
    return File(
        path=f"{DIRECTORY}/{name}", text=text, owner="postgres", group="postgres", mode="0640", secret=True,
        notify=notify,
    )  # fmt: skip


def rest_url(plan: AddressPlan, host: Host) -> str:
    """Return the URL of the member's Patroni for other hosts."""
    return f"https://{plan.lan(host.name).ipv4}:{REST_PORT}"


def data_root(host: Host) -> str:
    """Return the folder of the data directory and of old copies, on the host's own data disk if it has one."""
    return f"{data_folder(host)}/postgresql"


def patroni(estate: Estate, plan: AddressPlan, host: Host, passwords: Mapping[str, str]) -> str:
    """Return patroni.yml of one member."""
    own, promotable = plan.lan(host.name), host.at in estate.database.promotable
    tls = {"certfile": pki.CERT_FILE, "keyfile": pki.KEY_FILE}
    document: dict[str, Any] = {
        "scope": estate.database.scope,
        "name": host.name,
        "etcd3": _etcd(estate, plan),
        "restapi": {
            "listen": f"{own.ipv4}:{REST_PORT}",
            "connect_address": f"{own.ipv4}:{REST_PORT}",
            "cafile": pki.AUTHORITY_FILE,
            "verify_client": "optional",
            **tls,
        },
        "ctl": {"cacert": pki.AUTHORITY_FILE, **tls},
        "log": {"deduplicate_heartbeat_logs": True},
        "watchdog": {"mode": "off"},
        "tags": {"failover_priority": PROMOTABLE_PRIORITY if promotable else ACKNOWLEDGING_PRIORITY},
        "postgresql": _postgresql(estate, plan, host, passwords),
    }
    if promotable:
        document["bootstrap"] = {
            "dcs": dynamic(estate),
            "initdb": [{"encoding": "UTF8"}, {"locale": "C.UTF-8"}, "data-checksums"],
        }
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)
    return header_comment("Patroni", host.name) + text


def dynamic(estate: Estate) -> dict[str, Any]:
    """Return the settings that all members share. Patroni stores them in etcd.

    Lag does not exclude a member from the leader race: in quorum commit the voters' own positions decide, and bytes
    that were never acknowledged must not stop all members from taking over.
    """
    return {
        "ttl": estate.database.ttl_s,
        "loop_wait": estate.database.loop_wait_s,
        "retry_timeout": estate.database.retry_timeout_s,
        "maximum_lag_on_failover": 1024 * _MIB,
        "check_timeline": True,
        "failsafe_mode": False,
        "primary_start_timeout": 0,
        "primary_stop_timeout": 10,
        "synchronous_mode": "quorum",
        "synchronous_mode_strict": True,
        "synchronous_node_count": 1,
        "postgresql": {
            "use_pg_rewind": False,
            "use_slots": True,
            "parameters": {
                "hot_standby": "on",
                "max_connections": MAX_CONNECTIONS,
                "max_locks_per_transaction": 64,
                "max_prepared_transactions": 0,
                "max_replication_slots": 10,
                "max_wal_senders": 10,
                "max_worker_processes": 8,
                "wal_keep_size": "128MB",
                "wal_level": "replica",
                "wal_log_hints": "on",
            },
        },
    }


def parameters(host: Host) -> dict[str, Any]:
    """Return one member's own PostgreSQL settings: for its memory and disk, with silent peers found in ten seconds."""
    disk_mib = host.disk.size_mib if host.disk else 8192
    return {
        "shared_buffers": f"{max(64, min(4096, host.memory_mib // 10))}MB",
        "effective_cache_size": f"{max(128, host.memory_mib // 3)}MB",
        "maintenance_work_mem": "32MB",
        "work_mem": "4MB",
        "jit": "off",
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        "wal_compression": "on",
        "min_wal_size": "64MB",
        "max_wal_size": f"{max(128, min(4096, disk_mib // 8))}MB",
        "max_slot_wal_keep_size": f"{max(128, min(8192, disk_mib // 5))}MB",
        "checkpoint_timeout": "5min",
        "wal_sender_timeout": "10s",
        "wal_receiver_timeout": "10s",
        "wal_receiver_status_interval": "1s",
        "wal_retrieve_retry_interval": "200ms",
        "max_standby_streaming_delay": "5s",
        "tcp_keepalives_idle": 5,
        "tcp_keepalives_interval": 2,
        "tcp_keepalives_count": 3,
        "tcp_user_timeout": "9s",
        "client_connection_check_interval": "2s",
        "idle_in_transaction_session_timeout": "60s",
        "password_encryption": "scram-sha-256",
        "ssl": "on",
        "ssl_ca_file": pki.AUTHORITY_FILE,
        "ssl_cert_file": pki.CERT_FILE,
        "ssl_key_file": pki.KEY_FILE,
        "ssl_min_protocol_version": "TLSv1.2",
        "unix_socket_directories": SOCKETS,
        "log_destination": "stderr",
        "logging_collector": "off",
        "log_line_prefix": "%p %q%u@%d ",
        "log_checkpoints": "on",
        "log_lock_waits": "on",
        "timezone": "UTC",
        "log_timezone": "UTC",
    }


def access_rules(estate: Estate, plan: AddressPlan) -> list[str]:
    """Return pg_hba: the machine's own users, members for streaming, and hosts of services for their database.

    All other connections are rejected.
    """
    members = [plan.lan(member.name) for member in estate.database_members]
    services = [plan.lan(host.name) for host in estate.managed_hosts if host.kind is HostRole.KUBE]
    name = database.REPLICATOR
    return [
        "local all postgres peer",
        f"local replication {name} scram-sha-256",
        *(f"hostssl replication {name} {net} scram-sha-256" for each in members for net in _single(each)),
        *(f"hostssl postgres {name} {net} scram-sha-256" for each in members for net in _single(each)),
        *(
            f"hostssl {own} {','.join(logins)} {net} scram-sha-256"
            for own, logins in database.logins(estate).items()
            for each in services
            for net in _single(each)
        ),
        "host all all all reject",
    ]


def guard_settings(estate: Estate, plan: AddressPlan, host: Host) -> str:
    """Return the settings of the guard before promotion."""
    promotable = [member for member in estate.database_members if member.at in estate.database.promotable]
    return _json(
        {
            "own": f"{rest_url(plan, host)}/patroni",
            "promotable": {member.name: f"{rest_url(plan, member)}/patroni" for member in promotable},
            "cafile": pki.AUTHORITY_FILE,
            "token": TOKEN,
            "wait_s": GUARD_WAIT_S,
            "silent_s": GUARD_SILENT_S,
        }
    )


def settle_settings(estate: Estate, plan: AddressPlan, host: Host) -> str:
    """Return the settings of the program that applies the declared state to the running cluster."""
    return _json(
        {
            "url": rest_url(plan, host),
            "cafile": pki.AUTHORITY_FILE,
            "certfile": pki.CERT_FILE,
            "keyfile": pki.KEY_FILE,
            "psql": f"{POSTGRESQL_PROGRAMS}/psql",
            "socket": SOCKETS,
            "sql": f"{DIRECTORY}/database.sql",
            "lock": f"{RUNTIME}/database.lock",
            "dynamic": dynamic(estate),
        }
    )


def ctl_settings(estate: Estate, plan: AddressPlan) -> str:
    """Return the configuration of `patronictl -c` for operators. It contains no passwords."""
    document = {
        "scope": estate.database.scope,
        "etcd3": _etcd(estate, plan),
        "ctl": {"cacert": pki.AUTHORITY_FILE, "certfile": pki.CERT_FILE, "keyfile": pki.KEY_FILE},
    }
    return header_comment("patronictl", "every member") + yaml.safe_dump(document, sort_keys=False, width=120)


def unit(host: Host) -> str:
    """Return Patroni's unit. If Patroni is killed, PostgreSQL is killed too: no primary runs without supervision."""
    disk = host.disk.mount if host.disk else ""
    mount = f"RequiresMountsFor={disk}\nAssertPathIsMountPoint={disk}\n" if disk else ""
    return f"""{header_comment("PostgreSQL under Patroni", host.name)}[Unit]
Description=PostgreSQL {POSTGRESQL_VERSION} under Patroni
Wants=network-online.target
After=network-online.target etcd.service
{mount}StartLimitIntervalSec=0

[Service]
Type=exec
User=postgres
Group=postgres
ExecStartPre=+/usr/bin/install -d -o postgres -g postgres -m 0700 {data_root(host)} {kept_forks(host)}
ExecStart={VENV}/bin/patroni {DIRECTORY}/patroni.yml
ExecReload=/bin/kill -HUP $MAINPID
KillMode=mixed
Restart=always
RestartSec=2
TimeoutStopSec=60
LimitNOFILE=65536
OOMScoreAdjust=-500
RuntimeDirectory=govcloud-patroni
RuntimeDirectoryMode=0750
RuntimeDirectoryPreserve=yes
CapabilityBoundingSet=
NoNewPrivileges=yes
PrivateTmp=yes
ProtectHome=yes
ProtectSystem=full
RestrictSUIDSGID=yes

[Install]
WantedBy=multi-user.target
"""


def _etcd(estate: Estate, plan: AddressPlan) -> dict[str, Any]:
    return {
        "hosts": [endpoint.removeprefix("https://") for endpoint in etcd.endpoints(estate, plan)],
        "protocol": "https",
        "cacert": pki.AUTHORITY_FILE,
        "cert": pki.CERT_FILE,
        "key": pki.KEY_FILE,
    }


def _postgresql(estate: Estate, plan: AddressPlan, host: Host, passwords: Mapping[str, str]) -> dict[str, Any]:
    own, root = plan.lan(host.name), data_root(host)
    streaming = {
        "username": database.REPLICATOR,
        "password": passwords[REPLICATION],
        "sslmode": "verify-full",
        "sslrootcert": pki.AUTHORITY_FILE,
    }
    settings: dict[str, Any] = {
        "listen": f"{own.ipv4},[{own.ipv6}]:{PORT}",
        "connect_address": f"{own.ipv4}:{PORT}",
        "use_unix_socket": True,
        "use_unix_socket_repl": True,
        "data_dir": f"{root}/{POSTGRESQL_VERSION}",
        "bin_dir": POSTGRESQL_PROGRAMS,
        "pgpass": f"{RUNTIME}/pgpass",
        "authentication": {
            "superuser": {"username": "postgres"},
            "replication": dict(streaming),
            "rewind": dict(streaming),
        },
        "remove_data_directory_on_diverged_timelines": True,
        "create_replica_methods": ["rejoin"],
        "rejoin": {
            "command": REJOIN,
            "keep_data": True,
            "bindir": POSTGRESQL_PROGRAMS,
            "aside": f"{root}/aside",
            "kept": kept_forks(host),
            "member": host.name,
        },
        "callbacks": {"on_start": SETTLE, "on_role_change": SETTLE},
        "parameters": parameters(host),
        "pg_hba": access_rules(estate, plan),
    }
    if host.at in estate.database.acknowledging:
        settings["pre_promote"] = GUARD
    return settings


def _single(address: Dual) -> tuple[str, str]:
    return f"{address.ipv4}/32", f"{address.ipv6}/128"


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2, sort_keys=True) + "\n"
