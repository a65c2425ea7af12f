"""A router with FRR from the base image, in its own namespaces, and a neighbour with a BGP session to it.

All routing daemons and all parts of the change guard are real: zebra, bgpd, vtysh, frr-reload, and the role's program
and units. Only systemd is missing: a `systemctl` script does what the lines of the units say.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from estate.addressing import plan
from estate.loader import load
from playbooks.render import frr
from tests.polling import until

NEAR, FAR = "192.0.2.1", "192.0.2.2"
UNITS = "/etc/systemd/system/govcloud-router-revert"

BOOT = """set -e
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay -o "lowerdir=$2,upperdir=$1/upper,workdir=$1/work" overlay "$1/root"
mount -t proc proc "$1/root/proc"
mount --bind /dev "$1/root/dev"
mount -t tmpfs tmpfs "$1/root/run"
ip link set lo up
trap '' CHLD  # the first process of a machine buries the orphans; here the kernel does (dash would not let it)
echo up
exec cat
"""
"""$1 is an empty folder, $2 the base image. The machine lives until its standard input is closed."""

SYSTEMCTL = f"""#!/bin/sh
line() {{ sed -n "s/^$1=//p" "$2"; }}
daemons=/lib/systemd/system/frr.service
runs() {{ kill -0 "$(cat "$(line PIDFile $daemons)" 2>/dev/null)" 2>/dev/null; }}
case "$*" in
"is-active --quiet frr.service") runs ;;
"start frr.service") $(line ExecStart $daemons) ;;
"stop frr.service") $(line ExecStop $daemons) ;;
"restart frr.service") $(line ExecStop $daemons); $(line ExecStart $daemons) ;;
"reload-or-restart frr.service") runs && exec $(line ExecReload $daemons); $(line ExecStart $daemons) ;;
"restart govcloud-router-revert.timer")
    [ -e /run/deadline ] && kill "$(cat /run/deadline)"
    (sleep "$(line OnActiveSec {UNITS}.timer)"
     [ ! -e "$(line ConditionPathExists {UNITS}.service)" ] || $(line ExecStart {UNITS}.service)
     rm /run/deadline) </dev/null >/run/deadline.log 2>&1 &
    echo $! >/run/deadline ;;
"kill --signal=KILL frr.service")
    for pid in /run/frr/*.pid; do kill -KILL "$(cat "$pid")"; done ;;
*) echo "systemctl: no such unit or verb: $*" >&2; exit 5 ;;
esac
"""

FAR_DAEMON = "/usr/lib/frr/bgpd --daemon --no_zebra -f /root/far.conf -i /run/far/pid --vty_socket /run/far -P 0"
FAR_ROUTER = f"""router bgp 65002
 bgp router-id {FAR}
 no bgp ebgp-requires-policy
 neighbor {NEAR} remote-as 65001
 neighbor {NEAR} timers connect 1
"""


def configuration(note: str = "as before", *more: str) -> str:
    """Return the router's frr.conf, with more lines about its neighbour."""
    added = "".join(f"\n neighbor {FAR} {line}" for line in more)
    return f"""! Rendered by govcloud.
frr defaults traditional
hostname edge
service integrated-vtysh-config
!
router bgp 65001
 bgp router-id {NEAR}
 no bgp ebgp-requires-policy
 neighbor {FAR} remote-as 65002
 neighbor {FAR} description {note}
 neighbor {FAR} timers connect 1{added}
exit
"""


class Router:
    """The machine, as its administrator sees it."""

    def __init__(self, leader: int, root: Path) -> None:
        self._enter = ["nsenter", f"--target={leader}", "--mount", "--net", "--pid", "chroot", str(root)]
        self._root = Path(f"/proc/{leader}/root{root}")

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run a command on the machine."""
        return subprocess.run([*self._enter, *argv], capture_output=True, text=True, check=False, timeout=60)

    def must(self, *argv: str) -> str:
        """Return the output of a command that must succeed."""
        done = self.run(*argv)
        assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout

    def path(self, name: str) -> Path:
        """Return the path of a file of the machine, seen from the test."""
        return self._root / name.lstrip("/")

    def write(self, name: str, text: str, mode: int = 0o644) -> None:
        """Write a file on the machine."""
        self.path(name).parent.mkdir(parents=True, exist_ok=True)
        self.path(name).write_text(text)
        self.path(name).chmod(mode)

    def configured(self) -> str:
        """Return the content of frr.conf."""
        return self.path("/etc/frr/frr.conf").read_text()

    def kept(self) -> bool:
        """Return whether a backup of the configuration exists."""
        return self.path("/var/lib/govcloud/router/previous.conf").exists()

    def let_the_deadline_pass(self) -> None:
        """End the timer now instead of waiting for it. Return when its service has ended."""
        self.must("pkill", "-x", "sleep", "-P", self.path("/run/deadline").read_text().strip())
        until("the deadline's service has ended", lambda: not self.path("/run/deadline").exists(), 60)

    def describes(self, note: str) -> bool:
        """Return whether the running daemon, not only the file, has this configuration."""
        return f"description {note}" in self.run("vtysh", "-c", "show running-config").stdout

    def session_is_up(self) -> bool:
        """Return whether the session with the neighbour is established."""
        return "BGP state = Established" in self.run("vtysh", "-c", f"show bgp neighbors {FAR}").stdout

    def commit(self, verb: str) -> subprocess.CompletedProcess[str]:
        """Run the program as the role calls it."""
        return self.run(frr.COMMIT_CONFIRM, verb)

    def configure(self, text: str) -> None:
        """Change the configuration as the role does after `arm`."""
        self.write("/etc/frr/frr.conf", text, 0o640)
        self.must("chown", "frr:frr", "/etc/frr/frr.conf")
        self.must("systemctl", "reload-or-restart", "frr.service")


def install(router: Router) -> None:
    """Install the role's files and the far router, and start both."""
    estate = load()
    host = estate.router_of(estate.sites[0].name)
    for file in frr.role_spec(estate, plan(estate), host).files:
        if file.path != "/etc/frr/frr.conf":
            router.write(file.path, file.text, int(file.mode, 8))
    router.write("/usr/bin/systemctl", SYSTEMCTL, 0o755)
    router.write("/root/far.conf", FAR_ROUTER)
    for line in (
        "ip netns add far",
        "ip link add wire type veth peer name wire netns far",
        f"ip address add {NEAR}/24 dev wire",
        "ip link set wire up",
        f"ip -n far address add {FAR}/24 dev wire",
        "ip -n far link set wire up",
        "mkdir -p /run/frr /run/far",
        "chown frr:frr /run/frr /run/far /root/far.conf /root",
        f"ip netns exec far {FAR_DAEMON}",
    ):
        router.must(*line.split())
    router.configure(configuration())
