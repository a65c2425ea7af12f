#!/usr/bin/python3
"""Announce the services of a site while its ingress answers.

Every tick sends one request for each service to the site's ingress. `next_state`, a pure function, decides the state of
the service. The program then sets kernel routes, which FRR redistributes: the service's single addresses through the
ingress, and, while any service of the site is announced, the aggregate that the peers receive. By the metric of a route
FRR tells a healthy service from one that stays announced only because no healthy site is known.

If this process dies, the routes stay: a missing check is no reason to withdraw a service. The program does not verify
the certificate of the ingress: an expired certificate must raise an alarm, not take the city off the network.
"""

from __future__ import annotations

import enum
import http.client
import json
import logging
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

log = logging.getLogger("announcer")

READ_AGAIN_TICKS = 10
CALM_ANSWERS = 120
RISE_LIMIT = 10

Routes = dict[tuple[str, int], str | None]
"""Gateway by prefix and metric. The gateway None is the blackhole of the aggregate."""


class State(enum.Enum):
    """The state of a service of this site in the network."""

    DOWN = "down"
    ANNOUNCED = "announced"
    LAST_RESORT = "last-resort"


def next_state(state: State, healthy: bool | None, elsewhere: Callable[[], bool]) -> State:
    """Return the new state of the service.

    `healthy` is None until enough answers agree. `elsewhere()` returns whether another site announces the service as
    healthy. A failing service is first marked as the last resort, which already moves all traffic to a healthy site.
    One tick later it is withdrawn if such a site exists. If all sites fail together, each sees the marks of the others
    and all stay: the last announcing site never withdraws.
    """
    if healthy is None:
        return state
    if healthy:
        return State.ANNOUNCED
    if state is State.ANNOUNCED:
        return State.LAST_RESORT
    if state is State.LAST_RESORT and elsewhere():
        return State.DOWN
    return state


class Answer(enum.Enum):
    """The result of one check of the ingress. Slow means alive but late, which under load is no reason to withdraw."""

    GOOD = "answers"
    SLOW = "slow"
    BAD = "fails"


class Health:
    """Debounced answers: `rise` good ones, `fall` bad ones, or `fall_slow` bad or slow ones in a row decide.

    If a service fails again within `CALM_ANSWERS` after it recovered, it needs twice as many good answers as the last
    time before it counts as healthy, up to `rise * RISE_LIMIT`. So a service that flaps stays withdrawn, and one that
    fails once returns at once.
    """

    def __init__(self, rise: int, fall: int, fall_slow: int) -> None:
        self.rise, self.fall, self.fall_slow = rise, fall, fall_slow
        self.run, self.bad = 0, 0
        self.last: bool | None = None
        self.healthy: bool | None = None
        self.needed, self.calm = rise, 0

    def take(self, answer: Answer) -> bool | None:
        """Count one answer and return the verdict: True or False.

        Return None if there is no verdict yet, or if the answer contradicts it.
        """
        answered = answer is Answer.GOOD
        self.run = self.run + 1 if answered == self.last else 1
        self.bad = 0 if answered else self.bad + (answer is Answer.BAD)
        self.last = answered
        self.calm = self.calm + 1 if self.healthy else 0
        if self.calm > CALM_ANSWERS:
            self.needed = self.rise
        if answered and self.run >= self.needed:
            self.healthy = True
        failed = not answered and (self.bad >= self.fall or self.run >= self.fall_slow)
        if failed and self.healthy is not False:
            if self.healthy and self.calm <= CALM_ANSWERS:
                self.needed = min(self.needed * 2, self.rise * RISE_LIMIT)
            self.healthy = False
        return self.healthy if answered == self.healthy else None


def wanted_routes(settings: Mapping[str, Any], states: Mapping[str, State]) -> Routes:
    """Return the routes for the services' states."""
    routes: Routes = {}
    best: int | None = None
    for service in settings["services"]:
        state = states[service["name"]]
        if state is State.DOWN:
            continue
        metric = settings["metrics"][state.value]
        best = metric if best is None else min(best, metric)
        for route in service["routes"]:
            routes[(route["prefix"], metric)] = route["via"]
    if best is not None:
        routes.update({(prefix, best): None for prefix in settings["aggregates"]})
    return routes


def healthy_elsewhere(answer: Mapping[str, Any]) -> bool:
    """Return whether `show bgp … json` contains a valid path from another site that is not marked as last resort."""
    for path in answer.get("paths", []):
        marks = path.get("community", {}).get("list", [])
        if path.get("valid") and path.get("aspath", {}).get("length", 0) > 0 and "gracefulShutdown" not in marks:
            return True
    return False


def unverified() -> ssl.SSLContext:
    """Return a TLS context that does not verify the certificate, for the reason given above."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def ask(check: Mapping[str, Any], timeout_s: float, context: ssl.SSLContext) -> tuple[Answer, str]:
    """Check the ingress once and return (Answer, problem).

    A late answer is slow only if the connection was accepted.
    """
    try:
        connection = socket.create_connection((check["address"], check["port"]), timeout=timeout_s)
    except OSError as error:
        return Answer.BAD, str(error)
    try:
        with connection, context.wrap_socket(connection) as secured:
            request = f"GET {check['path']} HTTP/1.0\r\nHost: {check['host']}\r\nUser-Agent: govcloud-announcer\r\n\r\n"
            secured.sendall(request.encode())
            response = http.client.HTTPResponse(secured)
            response.begin()
    except TimeoutError:
        return Answer.SLOW, f"connected, no answer within {timeout_s} s"
    except (OSError, http.client.HTTPException) as error:
        return Answer.BAD, str(error) or type(error).__name__
    return (Answer.GOOD, "") if response.status == 200 else (Answer.BAD, f"status {response.status}")


def known_elsewhere(prefix: str) -> bool:
    """Ask FRR. If FRR does not answer, return False: without a known other site the service is not withdrawn."""
    family = "ipv6" if ":" in prefix else "ipv4"
    try:
        done = subprocess.run(
            ["vtysh", "-c", f"show bgp {family} unicast {prefix} json"],
            stdout=subprocess.PIPE,
            timeout=5,
            check=False,
        )
        return healthy_elsewhere(json.loads(done.stdout or b"{}"))
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return False


def present_routes(protocol: int) -> Routes:
    """Return the routes of this program in the kernel, in the form of `wanted_routes`."""
    routes: Routes = {}
    for family, bits in (("-4", "/32"), ("-6", "/128")):
        done = subprocess.run(
            ["ip", "-j", family, "route", "show", "proto", str(protocol)], stdout=subprocess.PIPE, check=True
        )
        for route in json.loads(done.stdout or b"[]"):
            prefix = route["dst"] if "/" in route["dst"] else route["dst"] + bits
            routes[(prefix, route.get("metric", 0))] = route.get("gateway")
    return routes


def route_commands(wanted: Routes, present: Routes, protocol: int) -> list[list[str]]:
    """Return the `ip` arguments that change `present` to `wanted`.

    Additions come first, so that no change leaves a gap.
    """
    commands = []
    for (prefix, metric), via in wanted.items():
        if present.get((prefix, metric), "absent") != via:
            kind = ["via", via] if via else []
            head = ["route", "replace"] if via else ["route", "replace", "blackhole"]
            commands.append([*head, prefix, *kind, "metric", str(metric), "proto", str(protocol)])
    for (prefix, metric), via in present.items():
        if (prefix, metric) not in wanted:
            head = ["route", "del"] if via else ["route", "del", "blackhole"]
            commands.append([*head, prefix, "metric", str(metric), "proto", str(protocol)])
    return [["-6" if ":" in " ".join(command) else "-4", *command] for command in commands]


def state_of(service: Mapping[str, Any], settings: Mapping[str, Any], present: Routes) -> State:
    """Return the state that the kernel's routes show, so that a restart changes nothing."""
    for state in (State.ANNOUNCED, State.LAST_RESORT):
        if any((route["prefix"], settings["metrics"][state.value]) in present for route in service["routes"]):
            return state
    return State.DOWN


class Announcer:
    """The services' states and the routes at the last reading. Both are read from the kernel at the start."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings, self.context = settings, unverified()
        self.present, self.age = present_routes(settings["protocol"]), 0
        services = settings["services"]
        self.states = {service["name"]: state_of(service, settings, self.present) for service in services}
        counts = settings["rise"], settings["fall"], settings["fall_slow"]
        self.healths = {service["name"]: Health(*counts) for service in services}

    def tick(self) -> None:
        """Check, decide and act once.

        Read the kernel's routes again every `READ_AGAIN_TICKS`, because another program may have removed one.
        """
        for service in self.settings["services"]:
            self.decide(service)
        self.age += 1
        wanted = wanted_routes(self.settings, self.states)
        if wanted == self.present and self.age < READ_AGAIN_TICKS:
            return
        protocol = self.settings["protocol"]
        for command in route_commands(wanted, present_routes(protocol), protocol):
            done = subprocess.run(["ip", *command], stderr=subprocess.PIPE, check=False)
            if done.returncode:
                log.error("ip %s: %s", " ".join(command), done.stderr.decode(errors="replace").strip())
        self.present, self.age = present_routes(protocol), 0

    def decide(self, service: Mapping[str, Any]) -> None:
        """Check one service and update its state."""
        name, state = service["name"], self.states[service["name"]]
        answer, wrong = ask(service["check"], self.settings["timeout_s"], self.context)
        healthy = self.healths[name].take(answer)
        new = next_state(state, healthy, lambda: known_elsewhere(service["routes"][0]["prefix"]))
        if new is not state:
            log.warning("%s: %s -> %s (%s)", name, state.value, new.value, wrong or answer.value)
        self.states[name] = new


def main(path: str) -> None:
    """Run forever."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
    settings = json.loads(Path(path).read_text(encoding="utf-8"))
    announcer = Announcer(settings)
    while True:
        start = time.monotonic()
        announcer.tick()
        time.sleep(max(0.0, start + settings["interval_s"] - time.monotonic()))


if __name__ == "__main__":
    main(sys.argv[1])
