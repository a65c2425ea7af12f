"""The approval service: what its pods are told, and who prepares the database for them.

The pods of a site reach the database through the ingress of the node they are on. All connections are encrypted and
check the server's name, which says whether a member may be a primary; the node's proxy leads them to whoever is primary
at the moment.

One host prepares the database: the first of the first site that actively serves. It needs no proxy for that, it looks
for the primary among all members itself.
"""

from __future__ import annotations

from estate.addressing import AddressPlan
from estate.model import Estate, Host, HostRole
from playbooks.host_spec import File, RoleSpec, Unit
from playbooks.render.pki import AUTHORITY_FILE, PRIMARY_NAME, STANDBY_NAME
from playbooks.secrets import Secrets

SERVICE = "approval"
PORT = 8080
"""On which the pods listen, and under which the nodes reach them at the service's address in the cluster."""
WRITE_PORT = 5432
READ_PORT = 5433
"""On which the ingress of a node leads its pods to the primary and to the site's own member."""
SITE_WRITES, SITE_READS, LEAST = 12, 6, 2
"""Database connections of a site, shared out among its pods; no pod has fewer than `LEAST`. With one pod more at each
site while a version changes, they stay below what a member of the database takes."""
DATABASE = "approval"
APP_LOGIN, OWNER_LOGIN = "approval_app", "approval_owner"

DIRECTORY = "/etc/govcloud/approval"
OWNER_ENVIRONMENT = f"{DIRECTORY}/owner.env"
FORMER_UNIT = "govcloud-approval.service"
"""As which the service ran on hosts before it ran in pods: it goes where it is still found."""

NODE, POD, PASSWORD = "NODE_IP", "APPROVAL_INSTANCE", "PGPASSWORD"
"""What a pod learns of itself, and what libpq reads a password from."""
FIELDS = {NODE: "status.hostIP", POD: "metadata.name"}


def role_spec(estate: Estate, plan: AddressPlan, host: Host, secrets: Secrets) -> RoleSpec:
    """On the preparing host the schema and the registers; elsewhere nothing but the tools for an officer."""
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
    """Name of the one host that applies the schema and fills the registers."""
    for site in estate.service(SERVICE).placement.active:
        for host in estate.hosts_at(site, HostRole.KUBE):
            return host.name
    raise LookupError("no host of an active site runs the approval service")


def pod_environment(estate: Estate, site: str) -> dict[str, str]:
    """Settings of the pods; `$(NAME)` stands for one of `FIELDS`, and the password is nowhere in them.

    They listen in both families. Synthetic applicants are let in only where the estate may be destroyed.
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
    """The schema owner's connection: straight to whichever member takes writes."""
    members = [plan.lan(member.name).ipv4 for member in estate.database_members]
    names = ",".join(PRIMARY_NAME for _ in members)
    addresses = ",".join(str(address) for address in members)
    where = _connection(names, addresses, WRITE_PORT, OWNER_LOGIN)
    password = secrets.passwords.approval_owner
    return f'APPROVAL_OWNER_DSN="{where} target_session_attrs=read-write password={password}"\n'


def _connection(names: str, addresses: str, port: int, user: str) -> str:
    where = f"host={names} hostaddr={addresses} port={port} dbname={DATABASE} user={user}"
    return f"{where} sslmode=verify-full sslrootcert={AUTHORITY_FILE}"
