"""Rules about names and numbers: they are unique, and no name is reserved by the platform."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from estate.checks.key_paths import key_at
from estate.model import Estate, Site
from estate.problems import Problem, Problems

SECTIONS = ("sites", "peers", "links", "hosts", "bureaus", "services", "vantages")
RESERVED_INTERFACES = ("lo", "lan0", "mgmt0")
TRANSITION_ASN = 23456
"""AS_TRANS (RFC 6793) replaces every four-byte number and cannot be assigned to a network."""
LAST_ASNS = (65535, 4294967295)
"""Reserved by RFC 7300."""
OWN_NAMESPACES = ("default", "kube-")
"""Namespaces that Kubernetes reserves: a name and a prefix."""


def unique_names(estate: Estate) -> Problems:
    """Require unique names within each section."""
    for section in SECTIONS:
        yield from _repeated(section, getattr(estate, section), "name", lambda entry: entry.name)


def unique_places(estate: Estate) -> Problems:
    """Require different names for sites and peers, because `at: NAME` of a host may mean either."""
    sites = {site.name for site in estate.sites}
    for index, peer in enumerate(estate.peers):
        if peer.name in sites:
            key = key_at("peers", index, peer.name, "name")
            yield Problem(key=key, value=peer.name, message="is also the name of a site; rename the peer or the site")


def unique_numbers(estate: Estate) -> Problems:
    """Require unique numbers. Addresses are computed from them, so equal numbers give two machines one address."""
    for section in ("sites", "peers", "links", "services"):
        yield from _repeated(section, getattr(estate, section), "number", lambda entry: entry.number)
    yield from _repeated("hosts", estate.hosts, "number", lambda host: (host.at, host.number))


def unique_asns(estate: Estate) -> Problems:
    """Require an own AS number for every site and peer. Otherwise BGP takes their routes for loops."""
    first: dict[int, str] = {}
    for section, index, owner in _owners(estate):
        if owner.asn in first:
            message = f"is also the AS number of {first[owner.asn]}; change one of them"
            yield Problem(key=key_at(section, index, owner.name, "asn"), value=str(owner.asn), message=message)
        first.setdefault(owner.asn, owner.name)


def usable_asns(estate: Estate) -> Problems:
    """Refuse AS numbers that the standards reserve."""
    for section, index, owner in _owners(estate):
        if owner.asn == TRANSITION_ASN or owner.asn in LAST_ASNS:
            message = "is a reserved AS number; use the assigned one, or a private one from 4200000000 to 4294967294"
            yield Problem(key=key_at(section, index, owner.name, "asn"), value=str(owner.asn), message=message)


def free_interface_names(estate: Estate) -> Problems:
    """Refuse link names that are interfaces of every host: a link's name becomes an interface on both routers."""
    for index, link in enumerate(estate.links):
        if link.name in RESERVED_INTERFACES:
            message = f"is the name of an interface that every host has ({', '.join(RESERVED_INTERFACES)}); rename it"
            yield Problem(key=key_at("links", index, link.name, "name"), value=link.name, message=message)


def free_namespaces(estate: Estate) -> Problems:
    """Refuse namespaces of Kubernetes as bureau names: a bureau's name becomes a namespace on every cluster."""
    for index, bureau in enumerate(estate.bureaus):
        if bureau.name == OWN_NAMESPACES[0] or bureau.name.startswith(OWN_NAMESPACES[1]):
            message = "is a namespace that Kubernetes reserves; give the bureau another name"
            yield Problem(key=key_at("bureaus", index, bureau.name, "name"), value=bureau.name, message=message)


def _owners(estate: Estate) -> Iterable[tuple[str, int, Any]]:
    for section in ("sites", "peers"):
        for index, owner in enumerate(getattr(estate, section)):
            yield section, index, owner


def _repeated(section: str, entries: Sequence[Any], field: str, of: Callable[[Any], Any]) -> Problems:
    first: dict[Any, str] = {}
    for index, entry in enumerate(entries):
        value = of(entry)
        if value in first:
            where = f"{section[:-1]} {first[value]}" if field != "name" else "an earlier entry"
            yield Problem(
                key=key_at(section, index, entry.name, field),
                value=str(getattr(entry, field)),
                message=f"is also the {field} of {where}; change one of them",
            )
        first.setdefault(value, entry.name)


def is_documentation_asn(asn: int) -> bool:
    """Return whether RFC 5398 reserves the AS number for examples."""
    return 64496 <= asn <= 64511 or 65536 <= asn <= 65551


def advice(estate: Estate) -> Problems:
    """Report example AS numbers in a real estate. A lab may use them."""
    if estate.lab:
        return
    for section, index, owner in _owners(estate):
        if is_documentation_asn(owner.asn):
            what = "site" if isinstance(owner, Site) else "peer"
            message = f"is an AS number reserved for examples; enter the one assigned to the {what}"
            yield Problem(key=key_at(section, index, owner.name, "asn"), value=str(owner.asn), message=message)
