"""The approval service on a host: its unit, its settings, and who prepares the database.

One host prepares: the first of the first site that actively serves. It needs no proxy for that, it looks for the
primary among all members itself. All connections are encrypted and check the server's name, which says whether a
member may be a primary; the service's own go through the host's proxy to whoever is primary at the moment.
"""

from __future__ import annotations

from estate.addressing import AddressPlan
from estate.model import Estate, Host, Kind
from playbooks.hostplan import File, RoleInput, Unit
from playbooks.render.pki import AUTHORITY_FILE, PRIMARY_NAME, STANDBY_NAME
from playbooks.secrets import Secrets

SERVICE = "approval"
UNIT = "govcloud-approval.service"
UNIT_FILE = f"/etc/systemd/system/{UNIT}"
DIRECTORY = "/etc/govcloud/approval"
SERVICE_ENVIRONMENT = f"{DIRECTORY}/service.env"
OWNER_ENVIRONMENT = f"{DIRECTORY}/owner.env"
VENV = "/opt/govcloud/approval"
LISTEN = "127.0.0.1:8080"
WRITE_PORT = 5432
READ_PORT = 5433
DATABASE = "approval"
APP_LOGIN, OWNER_LOGIN = "approval_app", "approval_owner"

UNIT_TEXT = f"""\
# Instant approval. Written by govcloud: the next `govcloud up` restores it.
[Unit]
Description=Instant approval of household registration
After=network.target haproxy.service
StartLimitIntervalSec=0

[Service]
Type=exec
EnvironmentFile={SERVICE_ENVIRONMENT}
ExecStart={VENV}/bin/python -m approval
Restart=always
RestartSec=500ms
TimeoutStopSec=10
DynamicUser=yes
OOMScoreAdjust=-500
# Before whatever else the host does when processors are short.
Nice=-5
MemoryMax=1G
TasksMax=128
LimitNOFILE=16384

# It needs sockets and nothing else.
CapabilityBoundingSet=
NoNewPrivileges=yes
PrivateDevices=yes
PrivateTmp=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHome=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectSystem=strict
InaccessiblePaths=-{OWNER_ENVIRONMENT}
LockPersonality=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
UMask=0077

[Install]
WantedBy=multi-user.target
"""


def role_input(estate: Estate, plan: AddressPlan, host: Host, secrets: Secrets) -> RoleInput:
    """The service on `host`; on the preparing host also the schema and the registers."""
    prepares = host.name == preparing_host(estate)
    restart = (f"restart:{UNIT}",)
    files = [
        File(path=UNIT_FILE, text=UNIT_TEXT, notify=restart),
        File(
            path=SERVICE_ENVIRONMENT,
            text=service_environment(estate, host, secrets),
            mode="0600",
            secret=True,
            notify=restart,
        ),
    ]
    if prepares:
        owner = owner_environment(estate, plan, secrets)
        files.append(File(path=OWNER_ENVIRONMENT, text=owner, mode="0600", secret=True))
    settings = {
        "prepare": prepares,
        "people": estate.registers.people if estate.lab else 0,
        "seed": estate.registers.seed,
    }
    return RoleInput(role="approval", settings=settings, files=tuple(files), units=(Unit(name=UNIT),))


def preparing_host(estate: Estate) -> str:
    """Name of the one host that applies the schema and fills the registers."""
    for site in estate.service(SERVICE).placement.active:
        for host in estate.hosts_at(site, Kind.KUBE):
            return host.name
    raise LookupError("no host of an active site runs the approval service")


def service_environment(estate: Estate, host: Host, secrets: Secrets) -> str:
    """Settings of the service. Synthetic applicants are let in only where the estate may be destroyed."""
    password = secrets.passwords.approval_app
    return "\n".join(
        (
            f"GOVCLOUD_SITE={host.at}",
            f"APPROVAL_LISTEN={LISTEN}",
            f'APPROVAL_WRITE_DSN="{_proxied(PRIMARY_NAME, WRITE_PORT, password)}"',
            f'APPROVAL_READ_DSN="{_proxied(STANDBY_NAME, READ_PORT, password)}"',
            f"APPROVAL_SYNTHETIC={int(estate.lab)}",
            "APPROVAL_REQUIRE_SYNC=1",
            "",
        )
    )


def owner_environment(estate: Estate, plan: AddressPlan, secrets: Secrets) -> str:
    """The schema owner's connection: straight to whichever member takes writes."""
    members = [plan.lan(member.name).ipv4 for member in estate.database_members]
    names = ",".join(PRIMARY_NAME for _ in members)
    addresses = ",".join(str(address) for address in members)
    where = f"host={names} hostaddr={addresses} port={WRITE_PORT} target_session_attrs=read-write"
    return f'APPROVAL_OWNER_DSN="{where} {_login(OWNER_LOGIN, secrets.passwords.approval_owner)}"\n'


def _proxied(name: str, port: int, password: str) -> str:
    return f"host={name} hostaddr=127.0.0.1 port={port} {_login(APP_LOGIN, password)}"


def _login(user: str, password: str) -> str:
    return f"dbname={DATABASE} user={user} password={password} sslmode=verify-full sslrootcert={AUTHORITY_FILE}"
