"""The service that drills and benches use as a citizen, with the files and the query of its synthetic client."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from contracts import loader
from contracts.model import Synthetic
from estate.model import Estate, Service
from failover.protocols import Machines, Observer
from workstation.errors import GovcloudError, WrongUse

PSQL = (
    "runuser", "-u", "postgres", "--", "env", "PGTARGETSESSIONATTRS=primary", "psql", "-X", "-q", "-v",
    "ON_ERROR_STOP=1", "--csv", "-d",
)  # fmt: skip
"""psql refuses a standby, which may lack acknowledged rows: the primary may have moved since the observation."""
CLIENT = "synthetic_client.py"
"""Name of the synthetic client next to the load generator, which imports it."""


@dataclass(frozen=True, kw_only=True)
class StoredRows:
    """The query for the stored synthetic requests. `argv` is psql on a member's own host, which takes `-c` or input."""

    argv: tuple[str, ...]
    query: str


def measured_service(estate: Estate) -> tuple[Service, str]:
    """Return the first service with a synthetic client that a vantage reaches, and the vantage's host.

    Raises WrongUse if there is none.
    """
    for vantage in estate.vantages:
        for service in map(estate.service, vantage.reaches):
            if service.contract.synthetic:
                return service, vantage.host
    raise WrongUse(
        "no vantage reaches a service with a synthetic client, so nothing can be measured",
        "name one in `reaches` of a vantage",
    )


def synthetic_client(service: Service) -> Synthetic:
    """Return the contract's synthetic client. Raises ValueError for a service without one."""
    if not (synthetic := service.contract.synthetic):
        raise ValueError(f"{service.name} has no synthetic client")
    return synthetic


def stored_rows(service: Service) -> StoredRows:
    """Return the query for the requests that the service has stored."""
    database = service.contract.database
    assert database, "a service with a synthetic client has a database"
    return StoredRows(argv=(*PSQL, database.name), query=synthetic_client(service).rows)


def primary_rows(service: Service, observer: Observer, machines: Machines) -> tuple[str, str]:
    """Return the primary's host and the rows of `stored_rows` there. Raises GovcloudError if they cannot be read."""
    primary = observer.snapshot().primary  # a fresh snapshot decides which member is the primary
    if primary is None:
        raise GovcloudError("no primary to compare the ledger with", "see `./govcloud status`")
    stored = stored_rows(service)
    result = machines.run(primary.host, [*stored.argv, "-c", stored.query], timeout_s=120)
    if result.returncode != 0:
        raise GovcloudError(f"{primary.host}: psql: {result.stderr.decode(errors='replace').strip()}")
    return primary.host, result.stdout.decode()


def client_files(service: Service) -> dict[str, bytes]:
    """Return the synthetic client and the modules that it imports, by their path next to the load generator."""
    synthetic, folder = synthetic_client(service), loader.folder(service.name)
    files = {CLIENT: (folder / synthetic.client).read_bytes()}
    for name in synthetic.imports:
        files |= {str(package / "__init__.py"): b"" for package in PurePosixPath(name).parents[:-1]}
        files[name] = (folder / "src" / name).read_bytes()
    return files
