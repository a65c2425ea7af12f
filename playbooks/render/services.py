"""The services: the settings of their pods, and the host that prepares their databases.

The pods of a site reach the database through the ingress of their own node. All connections are encrypted. They check
the server's name, which states whether the member may be a primary. The node's proxy connects them to the current
primary.

One host prepares the database of a service: the first host of the first site that actively serves. It needs no proxy
for that, because it tries all members to find the primary.
"""

from __future__ import annotations

from contracts.model import Contract, Database
from estate.addressing import AddressPlan, plan
from estate.model import Estate, Host, HostRole, Service
from facts import ports
from playbooks.host_spec import File, RoleSpec, Unit
from playbooks.render import carrier
from playbooks.render.pki import AUTHORITY_FILE, PRIMARY_NAME, STANDBY_NAME
from playbooks.role_settings import Command
from playbooks.secrets import Secrets

NODE, SITE, PASSWORD = "NODE_IP", "GOVCLOUD_SITE", "PGPASSWORD"
"""Variables of pods: the node's address, the site's name, and the variable from which libpq reads a password."""


def role_spec(estate: Estate, plan: AddressPlan, host: Host, secrets: Secrets) -> RoleSpec:
    """Return the role. A preparing host gets the owner's connection and its commands, other hosts only the tools."""
    prepared = [service for service in estate.services if host.name == preparing_host(estate, service)]
    texts = {_owner_file(service): owner_environment(estate, plan, service, secrets) for service in prepared}
    files = tuple(File(path=path, text=text, mode="0600", secret=True) for path, text in texts.items())
    commands = [command for service in prepared for command in setup_commands(estate, service)]
    # The unit of a service is from before services ran in pods. It is removed where it still exists.
    gone = tuple(Unit(name=f"govcloud-{one.name}.service", enabled=False, active=False) for one in estate.services)
    return RoleSpec(role="service_setup", settings={"commands": commands}, files=files, units=gone)


def preparing_host(estate: Estate, service: Service) -> str | None:
    """Return the name of the one host that prepares the service's database; None if nothing is to be prepared."""
    if not service.contract.setup:
        return None
    for site in service.placement.active:
        for host in estate.hosts_at(site, HostRole.KUBE):
            return host.name
    raise LookupError(f"no host of an active site runs {service.name}")


def setup_commands(estate: Estate, service: Service) -> list[Command]:
    """Return the commands that prepare the service's database, in order."""
    values = {"people": str(estate.registers.people), "seed": str(estate.registers.seed)}
    setup = service.contract.setup
    commands = setup.commands if setup else ()
    return [
        Command(
            service=service.name,
            environment=_owner_file(service),
            run=[word.format(**values) for word in command.run],
        )
        for command in commands
        if estate.lab or not command.lab_only
    ]


def pod_environment(estate: Estate, service: Service, site: str) -> dict[str, str]:
    """Return the settings of the pods. `$(NAME)` refers to one of `pod_fields`. Passwords are not in them."""
    contract = service.contract
    values = {"site": site, "port": str(contract.port), "lab": str(int(estate.lab))}
    if contract.database:
        values |= _database(contract.database, service.pods.replicas[site])
    if contract.uses("url"):
        values["url"] = f"https://{plan(estate).anycast[service.name].ipv4}"
    values |= {"carrier": carrier.address(estate), "deliver_synthetic": carrier.population(estate)}
    return {SITE: site} | {name: template.format(**values) for name, template in contract.environment.items()}


def pod_fields(contract: Contract) -> dict[str, str]:
    """Return the values that a pod learns about itself, by variable."""
    return ({NODE: "status.hostIP"} if contract.database else {}) | dict(contract.fields)


def pod_secret_names(contract: Contract) -> dict[str, str]:
    """Return the names of the passwords that the pods receive, by variable."""
    generated = {variable: contract.secret_name(variable) for variable in contract.secrets}
    return ({PASSWORD: contract.database.login} if contract.database else {}) | generated


def owner_environment(estate: Estate, plan: AddressPlan, service: Service, secrets: Secrets) -> str:
    """Return the connection of the database's owner, direct to the member that accepts writes.

    Raise ValueError if the service prepares no database.
    """
    setup, database = service.contract.setup, service.contract.database
    if not (setup and database and database.owner):
        raise ValueError(f"{service.name} prepares no database")
    members = [plan.lan(member.name).ipv4 for member in estate.database_members]
    names = ",".join(PRIMARY_NAME for _ in members)
    addresses = ",".join(str(address) for address in members)
    where = _connection(database, names, addresses, ports.POSTGRESQL, database.owner)
    password = secrets.passwords[database.owner]
    return f'{setup.dsn_variable}="{where} target_session_attrs=read-write password={password}"\n'


def _owner_file(service: Service) -> str:
    return f"/etc/govcloud/{service.name}/owner.env"


def _database(database: Database, pods: int) -> dict[str, str]:
    """Return the values of the placeholders. The connections of a site are divided among its pods."""
    node, share = f"$({NODE})", database.connections
    return {
        "primary": _connection(database, PRIMARY_NAME, node, ports.DATABASE_PRIMARY, database.login),
        "local": _connection(database, STANDBY_NAME, node, ports.DATABASE_LOCAL, database.login),
        "primary_connections": str(max(share.least, share.primary // pods)),
        "local_connections": str(max(share.least, share.local // pods)),
    }


def _connection(database: Database, names: str, addresses: str, port: int, user: str) -> str:
    where = f"host={names} hostaddr={addresses} port={port} dbname={database.name} user={user}"
    return f"{where} sslmode=verify-full sslrootcert={AUTHORITY_FILE}"
