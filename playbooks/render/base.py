"""Role base: the basis of every managed host: addresses, names, access and limits."""

from __future__ import annotations

from estate.addressing import AddressPlan
from estate.model import Estate, Host
from playbooks.host_spec import Account, File, RoleSpec, Unit
from playbooks.render import networkd, sysctls
from playbooks.render.text import header_comment, join_lines

OPERATORS = "ops"
"""Account, and its group, of the operators."""


def role_spec(estate: Estate, plan: AddressPlan, host: Host, *, operator_keys: tuple[str, ...] = ()) -> RoleSpec:
    """Return the role on that host.

    `operator_keys` is the complete list of the operators' public SSH keys, for root and `ops`: any other key is
    removed. If it is empty, root's keys are not managed, so that an empty list locks out no operator.
    """
    people = [
        Account(name=OPERATORS, groups=("systemd-journal",), shell="/bin/bash", home="/home/ops", keys=operator_keys)
    ]
    if operator_keys:
        people.append(Account(name="root", shell="/bin/bash", home="/root", keys=operator_keys))
    return RoleSpec(
        role="base",
        files=(
            *networkd.files(estate, plan, host),
            _names(estate, plan, host),
            _ssh(host),
            _sudo(host),
            _journal(host),
        ),
        units=(Unit(name="systemd-networkd.service"), Unit(name="ssh.service")),
        sysctls=sysctls.of(estate, host),
        accounts=tuple(people),
    )


def _names(estate: Estate, plan: AddressPlan, host: Host) -> File:
    rows = []
    for other in estate.hosts:
        address = plan.lan(other.name)
        rows += [f"{address.ipv4}\t{other.name}", f"{address.ipv6}\t{other.name}"]
    for service in estate.public_services:
        address = plan.anycast[service.name]
        rows += [f"{address.ipv4}\t{service.name}.govcloud", f"{address.ipv6}\t{service.name}.govcloud"]
    local = [
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        "ff02::1\tip6-allnodes",
        "ff02::2\tip6-allrouters",
    ]
    text = header_comment("Names of the estate", host.name) + join_lines(local, "", rows)
    return File(path="/etc/hosts", text=text)


def _ssh(host: Host) -> File:
    text = header_comment("Access by SSH", host.name) + join_lines(
        "PermitRootLogin prohibit-password",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "PermitEmptyPasswords no",
        "X11Forwarding no",
        "AllowAgentForwarding no",
        "MaxAuthTries 3",
        "LoginGraceTime 20",
        "ClientAliveInterval 30",
        "ClientAliveCountMax 4",
        "UseDNS no",
    )
    return File(
        path="/etc/ssh/sshd_config.d/60-govcloud.conf",
        text=text,
        validate="/usr/sbin/sshd -t -f %s",
        notify=("reload:ssh.service",),
    )


def _sudo(host: Host) -> File:
    text = header_comment("Rights of operators", host.name) + f"%{OPERATORS} ALL=(ALL:ALL) NOPASSWD: ALL\n"
    return File(path="/etc/sudoers.d/60-govcloud-ops", text=text, mode="0440", validate="/usr/sbin/visudo -c -f %s")


def _journal(host: Host) -> File:
    text = header_comment("Limits of the journal", host.name) + join_lines(
        "", "[Journal]", "SystemMaxUse=200M", "RuntimeMaxUse=50M", "MaxRetentionSec=1month", "ForwardToSyslog=no"
    )
    path = "/etc/systemd/journald.conf.d/60-govcloud.conf"
    return File(path=path, text=text, notify=("restart:systemd-journald.service",))
