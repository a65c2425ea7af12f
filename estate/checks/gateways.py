"""Rules about the bureaus' gateways: each request has one destination, and each gateway has a cluster."""

from __future__ import annotations

from estate.checks.key_paths import key_at
from estate.model import Bureau, Estate, Gateway
from estate.problems import Problem, Problems


def unique_gateway_numbers(estate: Estate) -> Problems:
    """Require unique gateway numbers, because an address is computed from the number."""
    first: dict[int, str] = {}
    for index, bureau, gateway in _gateways(estate):
        if gateway.number in first:
            message = f"is also the number of {first[gateway.number]}'s gateway; change one of them"
            key = key_at("bureaus", index, bureau.name, "gateway.number")
            yield Problem(key=key, value=str(gateway.number), message=message)
        first.setdefault(gateway.number, bureau.name)


def unique_hosts(estate: Estate) -> Problems:
    """Require that a host name belongs to one bureau or to one promised service."""
    first = {f"{service.name}.govcloud": f"the service {service.name}" for service in estate.services}
    for index, bureau, gateway in _gateways(estate):
        for host in gateway.hosts:
            if host in first:
                message = f"is a host of {first[host]} already; take another name"
                yield Problem(key=key_at("bureaus", index, bureau.name, "gateway.hosts"), value=host, message=message)
            first.setdefault(host, f"the bureau {bureau.name}")


def reachable_backends(estate: Estate) -> Problems:
    """Require that backends are pods of the bureau's own namespace, and not the gateway itself."""
    owners = {service.name: service.bureau for service in estate.services}
    for index, bureau, gateway in _gateways(estate):
        for host, backend in gateway.hosts.items():
            key = key_at("bureaus", index, bureau.name, f"gateway.hosts.{host}.pods")
            owner = owners.get(backend.pods, bureau.name)
            if owner != bureau.name:
                message = f"is a service of {owner}: a gateway leads only to its own bureau's pods; name its own pods"
                yield Problem(key=key, value=backend.pods, message=message)
            if backend.pods == bureau.gateway_name:
                yield Problem(key=key, value=backend.pods, message="is the gateway itself; name other pods")


def gateways_on_clusters(estate: Estate) -> Problems:
    """Require a cluster for a gateway, which runs in pods."""
    for index, bureau, _ in _gateways(estate):
        if not estate.clusters:
            message = "needs a Kubernetes cluster, and there is none; add one to kubernetes.clusters or remove this"
            yield Problem(key=key_at("bureaus", index, bureau.name, "gateway"), value="", message=message)


def _gateways(estate: Estate) -> list[tuple[int, Bureau, Gateway]]:
    return [(index, bureau, bureau.gateway) for index, bureau in enumerate(estate.bureaus) if bureau.gateway]
