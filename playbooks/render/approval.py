"""The approval service: the settings of its pods, and the host that prepares the database for them.

The pods of a site reach the database through the ingress of their own node. All connections are encrypted. They check
the server's name, which states whether the member may be a primary. The node's proxy connects them to the current
primary.

One host prepares the database: the first host of the first site that actively serves. It needs no proxy for that,
because it tries all members to find the primary.
"""

from __future__ import annotations

from estate.addressing import AddressPlan
from estate.model import Estate, Host, HostRole
from playbooks.host_spec import File, RoleSpec, Unit
from playbooks.render.pki import AUTHORITY_FILE, PRIMARY_NAME, STANDBY_NAME
from playbooks.secrets import Secrets

SERVICE = "approval"
PORT = 8080
"""Port on which the pods listen, and on which the nodes reach them at the service's address in the cluster."""
WRITE_PORT = 5432
READ_PORT = 5433
"""Ports on which the ingress of a node connects its pods to the primary and to the site's own member."""
SITE_WRITES, SITE_READS, LEAST = 12, 6, 2
"""Database connections of a site, divided among its pods. Each pod has at least `LEAST`. During a version change each
site has one pod more, and the sum is still below the connection limit of a database member."""
DATABASE = "approval"
APP_LOGIN, OWNER_LOGIN = "approval_app", "approval_owner"

DIRECTORY = "/etc/govcloud/approval"
OWNER_ENVIRONMENT = f"{DIRECTORY}/owner.env"
FORMER_UNIT = "govcloud-approval.service"
"""Unit of the service on hosts, from before it ran in pods. It is removed where it still exists."""

NODE, POD, PASSWORD = "NODE_IP", "APPROVAL_INSTANCE", "PGPASSWORD"
"""The values that a pod learns about itself, and the variable from which libpq reads a password."""
FIELDS = {NODE: "status.hostIP", POD: "metadata.name"}


def role_spec(estate: Estate, plan: AddressPlan, host: Host, secrets: Secrets) -> RoleSpec:
    """Return the role. The preparing host gets schema and registers, other hosts only the tools for an officer."""
    prepares = host.name == preparing_host(estate)
    files = []
    if prepares:
        owner = owner_environment(estate, plan, secrets)
        files.append(File(path=OWNER_ENVIRONMENT, text=owner, mode="0600", secret=True))
    settings = {
        "prepare": prepares,
        "people": estate.registers.people if estate.lab else 0,
        "seed": estate.registers.seed,
    }
    gone = Unit(name=FORMER_UNIT, enabled=False, active=False)
    return RoleSpec(role="approval", settings=settings, files=tuple(files), units=(gone,))


def preparing_host(estate: Estate) -> str:
    """Return the name of the one host that applies the schema and fills the registers."""
    for site in estate.service(SERVICE).placement.active:
        for host in estate.hosts_at(site, HostRole.KUBE):
            return host.name
    raise LookupError("no host of an active site runs the approval service")


def pod_environment(estate: Estate, site: str) -> dict[str, str]:
    """Return the settings of the pods. `$(NAME)` refers to one of `FIELDS`. The password is not in them.

    The pods listen in both families. They accept synthetic applicants only if the estate is a lab.
    """
    count = estate.service(SERVICE).pods.replicas[site]
    return {
        "GOVCLOUD_SITE": site,
        "APPROVAL_LISTEN": f":{PORT}",
        "APPROVAL_WRITE_DSN": _connection(PRIMARY_NAME, f"$({NODE})", WRITE_PORT, APP_LOGIN),
        "APPROVAL_READ_DSN": _connection(STANDBY_NAME, f"$({NODE})", READ_PORT, APP_LOGIN),
        "APPROVAL_WRITE_CONNECTIONS": str(max(LEAST, SITE_WRITES // count)),
        "APPROVAL_READ_CONNECTIONS": str(max(LEAST, SITE_READS // count)),
        "APPROVAL_SYNTHETIC": str(int(estate.lab)),
        "APPROVAL_REQUIRE_SYNC": "1",
    }


def owner_environment(estate: Estate, plan: AddressPlan, secrets: Secrets) -> str:
    """Return the schema owner's connection, direct to the member that accepts writes."""
    members = [plan.lan(member.name).ipv4 for member in estate.database_members]
    names = ",".join(PRIMARY_NAME for _ in members)
    addresses = ",".join(str(address) for address in members)
    where = _connection(names, addresses, WRITE_PORT, OWNER_LOGIN)
    password = secrets.passwords.approval_owner
    return f'APPROVAL_OWNER_DSN="{where} target_session_attrs=read-write password={password}"\n'


def _connection(names: str, addresses: str, port: int, user: str) -> str:
    where = f"host={names} hostaddr={addresses} port={port} dbname={DATABASE} user={user}"
    return f"{where} sslmode=verify-full sslrootcert={AUTHORITY_FILE}"
