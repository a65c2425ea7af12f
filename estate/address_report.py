"""Writer of the address plan in `docs/generated/addresses.md`.

Run `python -m estate.address_report` after changing the estate.
"""

from __future__ import annotations

from pathlib import Path

from estate import diagram
from estate.addressing import AddressPlan, HostAddresses, plan
from estate.loader import load
from estate.model import Estate, Pool

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "generated"
INTRODUCTION = (
    "Computed from `estate/data`, never edited. `python -m estate.address_report` writes it, a test keeps it current."
)


def markdown(estate: Estate) -> str:
    """Return the plan as Markdown: prefixes, anycast, machines, links. It ends with a line feed."""
    computed = plan(estate)
    parts = [
        f"# Address plan of {estate.title.en} · {estate.title.zh} 地址规划",
        INTRODUCTION,
        _table("Prefixes · 网段", ("use", "IPv4", "IPv6"), _prefixes(estate, computed)),
        _table("Anycast service addresses · 任播地址", ("service", "IPv4", "IPv6"), _anycast(computed)),
        _table("Machines · 主机", ("host", "interface", "IPv4", "IPv6", "gateway"), _machines(computed)),
        _table("Links · 线路", ("link", "path", "end", "IPv4", "IPv6"), _links(estate, computed)),
    ]
    return "\n\n".join(parts) + "\n"


def _prefixes(estate: Estate, computed: AddressPlan) -> list[tuple[str, ...]]:
    nets = estate.networks
    pools: tuple[tuple[str, Pool], ...] = (
        ("all sites", nets.sites),
        ("all links", nets.links),
        ("loopbacks", nets.loopbacks),
        ("management", nets.management),
        ("services", nets.services),
    )
    if estate.kubernetes:
        pools = (*pools, ("pods", estate.kubernetes.pods), ("cluster addresses", estate.kubernetes.cluster_ips))
    rows: list[tuple[str, ...]] = [(name, str(pool.ipv4), str(pool.ipv6)) for name, pool in pools]
    for cluster in computed.clusters.values():
        rows.append((f"pods of {cluster.site}", str(cluster.pods.ipv4), str(cluster.pods.ipv6)))
        rows += [(f"pods on {name}", str(part.ipv4), str(part.ipv6)) for name, part in cluster.nodes.items()]
        ips = cluster.cluster_ips
        rows.append((f"cluster addresses of {cluster.site}", str(ips.ipv4), str(ips.ipv6)))
        rows += [
            (f"{name} in {cluster.site}'s cluster", str(own.ipv4), str(own.ipv6))
            for name, own in cluster.services.items()
        ]
        rows += [
            (f"{name}'s gateway in {cluster.site}'s cluster", str(own.ipv4), str(own.ipv6))
            for name, own in cluster.gateways.items()
        ]
    return rows + [(f"segment of {place}", str(own.ipv4), str(own.ipv6)) for place, own in computed.segments.items()]


def _anycast(computed: AddressPlan) -> list[tuple[str, ...]]:
    gateways = {f"{name}'s gateway": dual for name, dual in computed.gateways.items()}
    return [(name, str(dual.ipv4), str(dual.ipv6)) for name, dual in (computed.anycast | gateways).items()]


def _machines(computed: AddressPlan) -> list[tuple[str, ...]]:
    operator = computed.operator
    rows: list[tuple[str, ...]] = [("operator", operator.name, str(operator.ipv4), str(operator.ipv6), "")]
    for host in computed.hosts.values():
        rows += _machine(host)
    return rows


def _machine(host: HostAddresses) -> list[tuple[str, ...]]:
    gateway = f"{host.lan.gateway.ipv4}, {host.lan.gateway.ipv6}" if host.lan.gateway else ""
    rows: list[tuple[str, ...]] = [
        (host.host, "mgmt0", str(host.management.ipv4), str(host.management.ipv6), ""),
        ("", "lan0", str(host.lan.ipv4), str(host.lan.ipv6), gateway),
    ]
    if host.loopback:
        rows.append(("", "lo", f"{host.loopback.ipv4}/32", f"{host.loopback.ipv6}/128", ""))
    return rows


def _links(estate: Estate, computed: AddressPlan) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for link in estate.links:
        for end, name in enumerate(link.ends):
            circuit = computed.hosts[name].link(link.name)
            first = (link.name, link.path) if end == 0 else ("", "")
            rows.append((*first, name, str(circuit.ipv4), str(circuit.ipv6)))
    return rows


def _table(title: str, heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in (heads, ("---",) * len(heads), *rows)]
    return f"## {title}\n\n" + "\n".join(lines)


def write(folder: Path = FOLDER) -> None:
    """Write the generated pages of the project's own estate."""
    estate = load()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "addresses.md").write_text(markdown(estate), encoding="utf-8")
    (folder / "estate.svg").write_text(diagram.draw(estate), encoding="utf-8")


if __name__ == "__main__":
    write()
