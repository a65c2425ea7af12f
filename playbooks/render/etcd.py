"""etcd: the votes for Patroni's locks, on the hosts with `etcd_votes`. Peers and clients use TLS.

Each member listens in both families, but advertises only its IPv4 client address. So a client that tries every address
waits only once for a dead member.

Only peers are admitted by the name in their certificate. The same setting for clients would lock out etcd's own JSON
gateway, which Patroni uses: the gateway calls its own member without verifying the chain, and then finds no name to
compare. A client needs a certificate of the estate, and the firewall must admit it.
"""

from __future__ import annotations

from estate.addressing import AddressPlan
from estate.model import Estate, Host
from facts import ports
from facts.host_paths import data_folder
from playbooks import host_programs
from playbooks.host_spec import Account, File, RoleSpec, Unit
from playbooks.render import pki
from playbooks.render.systemd_hardening import HARDENING
from playbooks.render.text import header_comment

CLIENT_PORT = ports.ETCD_CLIENT
PEER_PORT = ports.ETCD_PEER
HEARTBEAT_MS = 200
ELECTION_MS = 2000
"""Eighty round trips to the remote site. On busy machines a late heartbeat does not mean a lost leader."""

DIRECTORY = "/etc/govcloud/etcd"
QUOTA_BYTES = 128 * 1024 * 1024
"""Patroni stores some kilobytes. A full quota stops writes with clear errors, long before the disk is full."""

RESTART_S = 2

READY_WAIT_S = 90
"""The first members wait for a majority, so that the stacks after them find a working cluster."""

JOIN = f"{host_programs.DIRECTORY}/etcd-join"
PREFER = f"{host_programs.DIRECTORY}/etcd-prefer"
RUNTIME = "/run/govcloud-etcd"
STATE = "/var/lib/govcloud-etcd"
UNIT = "etcd.service"
PREFER_TIMER = "govcloud-etcd-prefer.timer"
_HEAD = header_comment("Where etcd's leadership is preferred", "the witness")


def endpoints(estate: Estate, plan: AddressPlan) -> tuple[str, ...]:
    """Return the client addresses of all votes, in declared order."""
    return tuple(client_url(plan, member) for member in estate.etcd_members)


def client_url(plan: AddressPlan, host: Host) -> str:
    """Return the client address of the host's member."""
    return f"https://{plan.lan(host.name).ipv4}:{CLIENT_PORT}"


def is_witness(estate: Estate, host: Host) -> bool:
    """Return whether leadership is preferred on this host: its vote is at a site that never has the primary."""
    return host.etcd_votes > 0 and host.at not in estate.database.promotable


def role_spec(estate: Estate, plan: AddressPlan, host: Host) -> RoleSpec:
    """Return the member on `host`.

    The role pki installs its certificates. Raise ValueError for a host without a vote.
    """
    if not host.etcd_votes:
        raise ValueError(f"{host.name} has no etcd vote")
    witness = is_witness(estate, host)
    restart = (f"restart:{UNIT}",)
    files = [
        File(path=JOIN, text=host_programs.source("etcd_join"), mode="0755"),
        File(path=f"{DIRECTORY}/etcd.env", text=environment(estate, plan, host), notify=restart),
        File(path=f"{DIRECTORY}/ctl.env", text=client_environment(plan, host)),
        File(path=f"/etc/systemd/system/{UNIT}", text=unit(host), notify=restart),
    ]
    units = [Unit(name=UNIT)]
    if witness:
        files += [
            File(path=PREFER, text=host_programs.source("etcd_prefer"), mode="0755"),
            File(path="/etc/systemd/system/govcloud-etcd-prefer.service", text=_PREFER_SERVICE),
            File(path=f"/etc/systemd/system/{PREFER_TIMER}", text=_PREFER_TIMER, notify=(f"restart:{PREFER_TIMER}",)),
        ]
        units.append(Unit(name=PREFER_TIMER))
    return RoleSpec(
        role="etcd",
        settings={"ready_wait_s": READY_WAIT_S},
        files=tuple(files),
        units=tuple(units),
        accounts=(Account(name="etcd", groups=(pki.GROUP,)),),
    )


def data_directory(host: Host) -> str:
    """Return the data directory, on the host's own data disk if it has one."""
    return f"{data_folder(host)}/etcd"


def environment(estate: Estate, plan: AddressPlan, host: Host) -> str:
    """Return etcd's settings as its environment file."""
    own = plan.lan(host.name)
    peers = {member.name: f"https://{plan.lan(member.name).ipv4}:{PEER_PORT}" for member in estate.etcd_members}
    others = [client_url(plan, member) for member in estate.etcd_members if member.name != host.name]
    settings = {
        "NAME": host.name,
        "DATA_DIR": data_directory(host),
        "LISTEN_PEER_URLS": f"https://{own.ipv4}:{PEER_PORT},https://[{own.ipv6}]:{PEER_PORT}",
        "LISTEN_CLIENT_URLS": f"https://{own.ipv4}:{CLIENT_PORT},https://[{own.ipv6}]:{CLIENT_PORT}",
        "INITIAL_ADVERTISE_PEER_URLS": peers[host.name],
        "ADVERTISE_CLIENT_URLS": client_url(plan, host),
        "INITIAL_CLUSTER": ",".join(f"{name}={url}" for name, url in peers.items()),
        "INITIAL_CLUSTER_TOKEN": f"{estate.name}-{estate.database.scope}",
        "INITIAL_CLUSTER_STATE": "new",
        "HEARTBEAT_INTERVAL": HEARTBEAT_MS,
        "ELECTION_TIMEOUT": ELECTION_MS,
        "PRE_VOTE": "true",
        "STRICT_RECONFIG_CHECK": "true",
        "QUOTA_BACKEND_BYTES": QUOTA_BYTES,
        "AUTO_COMPACTION_MODE": "periodic",
        "AUTO_COMPACTION_RETENTION": "1h",
        "MAX_WALS": 2,
        "MAX_SNAPSHOTS": 2,
        "TLS_MIN_VERSION": "TLS1.2",
        "LOG_LEVEL": "warn",
    }
    settings |= _tls("") | _tls("PEER_")
    settings["PEER_CERT_ALLOWED_HOSTNAME"] = pki.ETCD_NAME
    lines = [f"ETCD_{key}={value}" for key, value in settings.items()]
    lines += [
        "# How an empty disk joins: see " + JOIN,
        f"JOIN_OTHERS={','.join(others)}",
        f"JOIN_MARKER={STATE}/was-member",
        f"JOIN_RESULT={RUNTIME}/join.env",
    ]
    return header_comment("etcd", host.name) + "\n".join(lines) + "\n"


def client_environment(plan: AddressPlan, host: Host) -> str:
    """Return the environment of `etcdctl` on the host: the local member, the host's own certificate."""
    return (
        header_comment("etcdctl", host.name)
        + "\n".join(
            (
                f"ETCDCTL_CACERT={pki.AUTHORITY_FILE}",
                f"ETCDCTL_CERT={pki.CERT_FILE}",
                f"ETCDCTL_KEY={pki.KEY_FILE}",
                f"ETCDCTL_ENDPOINTS={client_url(plan, host)}",
                f"PREFER_LOCAL={client_url(plan, host)}",
                f"PREFER_MEMORY={RUNTIME}/prefer.json",
            )
        )
        + "\n"
    )


def unit(host: Host) -> str:
    """Return the unit. It becomes active without waiting for a majority, because the first members start alone."""
    disk = host.disk.mount if host.disk else ""
    mount = f"RequiresMountsFor={disk}\nAssertPathIsMountPoint={disk}\n" if disk else ""
    return f"""{header_comment("etcd", host.name)}[Unit]
Description=etcd, one vote of the estate
Wants=network-online.target
After=network-online.target
{mount}StartLimitIntervalSec=0

[Service]
Type=exec
User=etcd
Group=etcd
EnvironmentFile={DIRECTORY}/etcd.env
EnvironmentFile=-{RUNTIME}/join.env
ExecStartPre=+/usr/bin/install -d -o etcd -g etcd -m 0700 {data_directory(host)}
ExecStartPre={JOIN}
ExecStart=/usr/local/bin/etcd
Restart=always
RestartSec={RESTART_S}
TimeoutStartSec=120
TimeoutStopSec=20
LimitNOFILE=65536
RuntimeDirectory=govcloud-etcd
RuntimeDirectoryPreserve=yes
StateDirectory=govcloud-etcd
ReadWritePaths={disk or "/var/lib"}
{HARDENING}

[Install]
WantedBy=multi-user.target
"""


def _tls(side: str) -> dict[str, str]:
    return {
        f"{side}CERT_FILE": pki.CERT_FILE,
        f"{side}KEY_FILE": pki.KEY_FILE,
        f"{side}TRUSTED_CA_FILE": pki.AUTHORITY_FILE,
        f"{side}CLIENT_CERT_AUTH": "true",
    }


_PREFER_SERVICE = f"""{_HEAD}[Unit]
Description=Prefer etcd's leadership at the witness
After={UNIT}

[Service]
Type=oneshot
User=etcd
Group=etcd
EnvironmentFile={DIRECTORY}/ctl.env
ExecStart={PREFER}
TimeoutStartSec=30
LogLevelMax=notice
SyslogLevel=notice
ReadWritePaths={RUNTIME}
CapabilityBoundingSet=
NoNewPrivileges=yes
PrivateTmp=yes
ProtectHome=yes
ProtectSystem=strict
"""

_PREFER_TIMER = f"""{_HEAD}[Unit]
Description=Look where etcd's leadership is

[Timer]
OnActiveSec=15
OnUnitInactiveSec=10
AccuracySec=1

[Install]
WantedBy=timers.target
"""
