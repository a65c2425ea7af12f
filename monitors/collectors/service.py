"""The services as each site's own host reports them, and as their users see them from the vantages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from estate.model import Estate, Host, HostRole, Service
from facts import ports
from facts.host_paths import CA_FILE
from monitors.collector import DOWN, UNSEEN, UP, Block, Collector, Column, Context, mark
from monitors.problem import Language, Problem, critical, warning
from monitors.query import Queries, Replies, Reply, Target, https, mapping

PATHS = ("healthz", "readyz", "writez")
"""Names of the health checks: alive, ready, can store data. A service's contract has their paths."""

SERVICE_UNREACHABLE = critical("service_unreachable", "对用户无应答", "does not answer its users")
WRITES_REFUSED = critical("writes_refused", "用户无法提交", "refuses applications")
SITE_NOT_READY = warning("site_not_ready", "未就绪", "is not ready")


@dataclass(frozen=True, kw_only=True)
class HealthCheck:
    """One request to a health path of a service. `asked_from` is a vantage's host, or the site's own host."""

    service: str
    asked_from: str
    place: str
    path: str
    """healthz, readyz or writez."""
    family: int
    status: int | None
    site: str | None = None
    """The site that answered."""
    seconds: float | None = None
    reason: str = ""

    @property
    def ok(self) -> bool:
        """It answered 200."""
        return self.status == 200

    @property
    def why(self) -> str:
        """Why it is not ok, in a few words."""
        return self.reason or (f"status {self.status}" if self.status is not None else "not asked")


@dataclass(frozen=True, kw_only=True)
class Services:
    """The requests of all hosts and vantages that were asked."""

    sites: tuple[HealthCheck, ...]
    """Each site's service, asked on its own address from within."""
    vantages: tuple[HealthCheck, ...]
    """Each service at its anycast addresses, asked from where its users are."""

    @property
    def not_ready(self) -> frozenset[tuple[str, str]]:
        """Each service that is not ready at a site, as (service, site)."""
        return frozenset((check.service, check.place) for check in _not_ready(self))

    def site_answers(self, site: str, path: str) -> bool:
        """Return whether every service of the site answers 200 on a health path (healthz, readyz or writez), asked from
        within."""
        checks = [check for check in self.sites if (check.place, check.path) == (site, path)]
        return bool(checks) and all(check.ok for check in checks)


def _queries(target: Target) -> Queries:
    if target.host.kind is HostRole.KUBE:
        return {
            f"health {service.name} 4 {name}": https(target.address, ports.HTTPS, service.name, path, ca_file=CA_FILE)
            for service in _placed(target.estate, target.host)
            for name, path in _paths(service)
        }
    names = dict.fromkeys(s for v in target.estate.vantages if v.host == target.host.name for s in v.reaches)
    return {
        f"health {service.name} {family} {name}": https(str(address), ports.HTTPS, service.name, path)
        for service in map(target.estate.service, names)
        for own in (target.plan.anycast[service.name],)
        for family, address in ((4, own.ipv4), (6, own.ipv6))
        for name, path in _paths(service)
    }


def _placed(estate: Estate, host: Host) -> list[Service]:
    """Return the public services of the host's site. The cluster's Deployments show the other services."""
    return [service for service in estate.public_services if host.at in service.placement.sites]


def _paths(service: Service) -> list[tuple[str, str]]:
    """Return the declared health paths with the names of their checks."""
    health = service.contract.health
    return [(name, path) for name, path in zip(PATHS, (health.live, health.ready, health.write), strict=True) if path]


def _parse(replies: Replies) -> Services:
    def checks(kind: HostRole) -> tuple[HealthCheck, ...]:
        return tuple(c for host, reply in replies.of(kind) for c in _checks(replies.estate, host, reply))

    return Services(sites=checks(HostRole.KUBE), vantages=checks(HostRole.VANTAGE))


def _checks(estate: Estate, host: Host, reply: Reply) -> Iterator[HealthCheck]:
    for name, result in reply.results.items():
        if not name.startswith("health "):
            continue
        _, service, family, path = name.split(" ")
        yield HealthCheck(
            service=service,
            asked_from=host.name,
            place=host.at,
            path=path,
            family=int(family),
            status=result.get("status"),
            site=mapping(result.get("headers")).get("x-govcloud-site"),
            seconds=result.get("seconds"),
            reason=str(result.get("error", "")),
        )
    if not reply.reachable and host.kind is HostRole.KUBE:
        for placed in _placed(estate, host):
            for path, _ in _paths(placed):
                yield HealthCheck(
                    service=placed.name, asked_from=host.name, place=host.at, path=path, family=4, status=None,
                    reason=reply.reason,
                )  # fmt: skip


def _judge(context: Context, seen: Services) -> Iterator[Problem]:
    unreached = {(c.service, c.asked_from, c.family) for c in seen.vantages if c.path == "healthz" and not c.ok}
    for check in seen.vantages:
        where = f"{check.service} · {check.asked_from} · IPv{check.family}"
        if check.path == "healthz" and not check.ok:
            yield SERVICE_UNREACHABLE.at(where, check.why)
        elif (
            check.path == "writez" and not check.ok and (check.service, check.asked_from, check.family) not in unreached
        ):
            yield WRITES_REFUSED.at(where, check.why)
    for check in _not_ready(seen):
        if check.asked_from in context.reached:
            yield SITE_NOT_READY.at(f"{check.service} · {check.place}", check.why)


def _not_ready(seen: Services) -> list[HealthCheck]:
    return [check for check in seen.sites if check.path == "readyz" and not check.ok]


def _ready(seen: Services, site: str, _: Language) -> str:
    return _all_ok(check for check in seen.sites if (check.place, check.path) == (site, "readyz"))


def _writes(seen: Services, site: str, _: Language) -> str:
    return _all_ok(check for check in seen.sites if (check.place, check.path) == (site, "writez"))


def _rows(estate: Estate, seen: Services, lang: Language) -> list[list[str]]:
    heads = {"zh": ["", "观测点", "服务", "", "应答中心", "用时"], "en": ["", "vantage", "service", "", "from", "took"]}
    rows = [[*heads[lang], *PATHS]]
    for vantage in estate.vantages:
        name = vantage.title.zh if lang == "zh" else vantage.name
        for service in vantage.reaches:
            for family in (4, 6):
                key = (vantage.host, service, family)
                asked = [check for check in seen.vantages if (check.asked_from, check.service, check.family) == key]
                rows.append(_row(name, service, family, asked))
    return rows


def _row(name: str, service: str, family: int, asked: list[HealthCheck]) -> list[str]:
    paths = [_all_ok(check for check in asked if check.path == path) for path in PATHS]
    sites = ", ".join(sorted({check.site for check in asked if check.site}))
    took = max((check.seconds for check in asked if check.ok and check.seconds is not None), default=None)
    up = sum(check.ok for check in asked)
    return [
        mark(up, len(asked)), name, service, f"IPv{family}", sites, f"{took * 1000:.0f} ms" if took else "", *paths,
    ]  # fmt: skip


def _all_ok(asked: Iterable[HealthCheck]) -> str:
    seen = [check.ok for check in asked]
    return UNSEEN if not seen else UP if all(seen) else DOWN


COLLECTOR = Collector[Services](
    rank=3,
    queries=_queries,
    parse=_parse,
    judge=_judge,
    columns=(Column(zh="就绪", en="ready", cell=_ready), Column(zh="写入", en="writes", cell=_writes)),
    block=Block(zh="服务（从各观测点访问）", en="Services, from each vantage", rows=_rows),
)
