#!/usr/bin/python3
"""Announce the services of a site while its ingress answers.

Every tick each service is asked at the site's ingress. What it shall be is decided by `next_state`, a pure function;
the act is kernel routes, which FRR redistributes: the service's single addresses by way of the ingress, and, while any
service of the site is announced, the aggregate that the peers hear. Their metric tells FRR a healthy service from one
that is only kept up because no healthy site is known.

If this process dies the routes stay as they are: not being checked is no reason to vanish. The ingress' certificate is
not verified here: one that has expired must raise an alarm, not take the city off the network.
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
from pathlib import Path

log = logging.getLogger("announcer")

READ_AGAIN_TICKS = 10
CALM_ANSWERS = 120
RISE_LIMIT = 10


class State(enum.Enum):
    """How a service of this site stands towards the network."""

    DOWN = "down"
    ANNOUNCED = "announced"
    LAST_RESORT = "last-resort"


def next_state(state, healthy, elsewhere):
    """What the service shall be.

    `healthy` is None until enough answers agree. `elsewhere()` tells whether another site announces it as healthy. A
    failing service is first marked as the last resort, which already turns all traffic to a healthy site, and withdrawn
    one tick later if there is one. When all sites fail together each sees the others' marks and all stay: the last
    announcing site never withdraws.
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
    """How the ingress took a question. A slow one is alive but late, which under load is no reason to go away."""

    GOOD = "answers"
    SLOW = "slow"
    BAD = "fails"


class Health:
    """Debounced answers: `rise` good ones, `fall` bad ones, or `fall_slow` bad or slow ones in a row decide.

    A service that fails again within `CALM_ANSWERS` of coming back has to answer twice as often as the last time before
    it counts as healthy, up to `rise * RISE_LIMIT`: one that flaps stays away, one that fails once is back at once.
    """

    def __init__(self, rise, fall, fall_slow):
        self.rise, self.fall, self.fall_slow = rise, fall, fall_slow
        self.run, self.bad, self.last, self.healthy = 0, 0, None, None
        self.needed, self.calm = rise, 0

    def take(self, answer):
        """Count one answer. True or False is the verdict; None is no verdict yet, or an answer that contradicts it."""
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


def wanted_routes(settings, states):
    """{(prefix, metric): gateway or None} for the services' states; None is the aggregate's blackhole."""
    routes, best = {}, None
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


def healthy_elsewhere(answer):
    """Whether `show bgp … json` holds a valid path from another site that is not marked as its last resort."""
    for path in answer.get("paths", []):
        marks = path.get("community", {}).get("list", [])
        if path.get("valid") and path.get("aspath", {}).get("length", 0) > 0 and "gracefulShutdown" not in marks:
            return True
    return False


def unverified():
    """TLS without a look at the certificate, for the reason above."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def ask(check, timeout_s, context):
    """One question to the ingress: (Answer, what was wrong). Late counts as slow only once the connection stands."""
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


def known_elsewhere(prefix):
    """Ask FRR; without an answer no other site is known, and so nothing is withdrawn."""
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


def present_routes(protocol):
    """The routes of ours that the kernel holds, in the form of `wanted_routes`."""
    routes = {}
    for family, bits in (("-4", "/32"), ("-6", "/128")):
        done = subprocess.run(
            ["ip", "-j", family, "route", "show", "proto", str(protocol)], stdout=subprocess.PIPE, check=True
        )
        for route in json.loads(done.stdout or b"[]"):
            prefix = route["dst"] if "/" in route["dst"] else route["dst"] + bits
            routes[(prefix, route.get("metric", 0))] = route.get("gateway")
    return routes


def route_commands(wanted, present, protocol):
    """`ip` arguments from what is present to what is wanted; additions first, so that a change never leaves a gap."""
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


def state_of(service, settings, present):
    """The state that the kernel's routes speak of, so that a restart changes nothing."""
    for state in (State.ANNOUNCED, State.LAST_RESORT):
        if any((route["prefix"], settings["metrics"][state.value]) in present for route in service["routes"]):
            return state
    return State.DOWN


class Announcer:
    """The services' states and the routes last seen; both are read from the kernel at the start."""

    def __init__(self, settings):
        self.settings, self.context = settings, unverified()
        self.present, self.age = present_routes(settings["protocol"]), 0
        services = settings["services"]
        self.states = {service["name"]: state_of(service, settings, self.present) for service in services}
        counts = settings["rise"], settings["fall"], settings["fall_slow"]
        self.healths = {service["name"]: Health(*counts) for service in services}

    def tick(self):
        """Ask, decide and act once. The kernel's routes are read again now and then: someone may have removed one."""
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

    def decide(self, service):
        """Bring the state of one service up to date."""
        name, state = service["name"], self.states[service["name"]]
        answer, wrong = ask(service["check"], self.settings["timeout_s"], self.context)
        healthy = self.healths[name].take(answer)
        new = next_state(state, healthy, lambda: known_elsewhere(service["routes"][0]["prefix"]))
        if new is not state:
            log.warning("%s: %s -> %s (%s)", name, state.value, new.value, wrong or answer.value)
        self.states[name] = new


def main(path):
    """Tick for ever."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
    settings = json.loads(Path(path).read_text(encoding="utf-8"))
    announcer = Announcer(settings)
    while True:
        start = time.monotonic()
        announcer.tick()
        time.sleep(max(0.0, start + settings["interval_s"] - time.monotonic()))


if __name__ == "__main__":
    main(sys.argv[1])
