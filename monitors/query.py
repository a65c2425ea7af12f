"""What a host is asked, and what it replied. Pure.

A query is a plain dictionary that `observe/agent.py` runs on the host. A malformed answer counts as no answer, with the
reason. Observations matter most when something is broken.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from estate.addressing import AddressPlan
from estate.model import Estate, Host, HostRole

Query = dict[str, Any]
Queries = dict[str, Query]

JSON_BEGINS = re.compile(r"^[{\[]", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Target:
    """A host that is asked."""

    estate: Estate
    plan: AddressPlan
    host: Host
    tenants: bool = False
    """Also list the bureaus' own Deployments. Only an upgrade reads them, so the polls of a watch leave them out."""

    @property
    def address(self) -> str:
        """Its IPv4 address in the site's network."""
        return str(self.plan.lan(self.host.name).ipv4)


def command(*argv: str) -> Query:
    """Return a query that runs a command."""
    return {"kind": "command", "argv": list(argv)}


def https(address: str, port: int, name: str, path: str, /, **files: str) -> Query:
    """Return an HTTPS request for `name` at an address. `files` are paths on the host: ca_file, cert_file, key_file."""
    return {"kind": "https", "address": address, "port": port, "name": name, "path": path, **files}


def queried_hosts(estate: Estate, hosts: Collection[str] | None = None) -> tuple[Host, ...]:
    """Return the managed hosts and the vantages, or the ones among them that are in `hosts`.

    Peers' routers and servers are never queried: other organisations run them. If `hosts` has a vantage, the hosts of
    the services are included, because they hold the CA certificate that the vantage needs.
    """
    own = {host.name for host in estate.managed_hosts}
    found = tuple(host for host in estate.hosts if host.name in own or host.kind is HostRole.VANTAGE)
    if hosts is None:
        return found
    vantage = any(host.kind is HostRole.VANTAGE and host.name in hosts for host in found)
    return tuple(host for host in found if host.name in hosts or (vantage and host.kind is HostRole.KUBE))


@dataclass(frozen=True, kw_only=True)
class Reply:
    """The reply of one host. Times in seconds; `now` is its clock, `asked_at` and `took_s` are ours."""

    host: str
    reachable: bool
    reason: str = ""
    now: float | None = None
    asked_at: float = 0.0
    took_s: float = 0.0
    results: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def document(self, name: str) -> Any:
        """Return the JSON document of a command or an HTTPS answer, None if there is no such document."""
        result = self.results.get(name, {})
        if result.get("code", 0) != 0:
            return None
        try:
            return json.loads(result.get("out", result.get("body", "")))
        except (ValueError, TypeError, RecursionError):
            return None

    def documents(self, name: str) -> list[Any]:
        """Return every JSON object and array that a command printed, each from the beginning of a line.

        Other lines are skipped: one of several answers may be an error message.
        """
        text, found, at = str(self.results.get(name, {}).get("out", "")), [], 0
        while begin := JSON_BEGINS.search(text, at):
            try:
                document, at = json.JSONDecoder().raw_decode(text, begin.start())
                found.append(document)
            except (ValueError, RecursionError):
                at = begin.end()
        return found

    def object(self, name: str) -> dict[str, Any]:
        """Return `document` if it is a JSON object, otherwise an empty one."""
        return mapping(self.document(name))

    def why(self, name: str) -> str:
        """Return why `document` found nothing, in one line."""
        result = self.results.get(name, {})
        why = self.reason or str(result.get("error") or result.get("err") or f"status {result.get('status')}")
        return (why.strip().splitlines() or ["no answer"])[0].split(" failed: ")[-1]


@dataclass(frozen=True, kw_only=True)
class Replies:
    """The hosts that were asked, each with its reply, in the order of the estate."""

    estate: Estate
    plan: AddressPlan
    pairs: tuple[tuple[Host, Reply], ...]

    def of(self, *kinds: HostRole) -> tuple[tuple[Host, Reply], ...]:
        """Return the hosts of these kinds."""
        return tuple((host, reply) for host, reply in self.pairs if host.kind in kinds)


def mapping(value: Any) -> dict[str, Any]:
    """Return a JSON object, an empty one in place of any other value."""
    return value if isinstance(value, dict) else {}


def objects(value: Any) -> list[dict[str, Any]]:
    """Return the objects of a JSON array, none of any other value."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def whole(value: Any) -> int | None:
    """Return a whole number, None in place of any other value."""
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return None
