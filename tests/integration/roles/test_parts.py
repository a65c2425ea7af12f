"""The only playbook, run by Ansible in the unpacked base image: no daemon runs, so the roles here have only files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from playbooks.host_spec import File, RoleSpec, keyed
from tests.integration.roles import apply_in_root
from tools.image import bake
from workstation import paths
from workstation.errors import GovcloudError

CONFIRM = "/usr/local/lib/govcloud/commit-confirm"
BASE = RoleSpec(
    role="base",
    files=(
        File(path=CONFIRM, text="#!/bin/sh\ncat /etc/frr/frr.conf > /srv/$1\n", mode="0755"),
        File(path="/etc/frr/frr.conf.template", text="{{ not a template }} {% nor this %}\n"),
    ),
)
SECRET = RoleSpec(role="nftables", files=(File(path="/etc/secret", text="do not tell", mode="0600", secret=True),))
FRR = RoleSpec(role="frr", files=(File(path="/etc/frr/frr.conf", text="first\n"),))
LAST = RoleSpec(role="announcer", files=(File(path="/etc/announcer", text="last\n", validate="/bin/grep -q . %s"),))
MOUNT = 'set -e; mkdir "$1/upper" "$1/work" "$1/root"; options="lowerdir=$2,upperdir=$1/upper,workdir=$1/work"; '
MOUNT += 'mount -t overlay -o "$options" overlay "$1/root"; shift 2; exec "$@"'
"""In a mount namespace of its own, so that no mount stays if the test is killed."""


def applied(folder: Path, *hosts: tuple[RoleSpec, ...]) -> list[dict[str, Any]]:
    """Apply these states one after the other to the base image; return what each run did."""
    if os.geteuid():
        pytest.skip("needs root: mounts")
    try:
        image = bake.current().resolve()
    except GovcloudError as error:
        pytest.skip(str(error))
    program = [sys.executable, apply_in_root.__file__, str(folder / "root"), str(paths.cache() / "artifacts")]
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", MOUNT, "sh", str(folder), str(image), *program],
        input=json.dumps([keyed("here", str(folder / "root"), roles) for roles in hosts]),
        env={**os.environ, "PYTHONPATH": str(paths.repo())},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_roles_are_carried_out_in_their_order_with_their_steps_between_them(tmp_path: Path) -> None:
    """Roles without steps between them share one task. The router's change is armed, and confirmed before the next
    role.
    """
    changed = replace(FRR, files=(replace(FRR.files[0], text="second\n"),))
    first, again, second = applied(tmp_path, *((BASE, SECRET, frr, LAST) for frr in (FRR, FRR, changed)))
    paths_of = [file.path for role in (BASE, SECRET, FRR, LAST) for file in role.files]
    assert [change.split(" file ")[-1] for change in first["changes"]] == paths_of
    assert [role for role, _ in again["tasks"]] == ["base", "nftables", "frr", "announcer"]
    assert again["changes"] == []
    assert second["changes"] == ["frr: file /etc/frr/frr.conf"]
    confirmed = "Confirm the router's change, or restore the previous configuration"
    apply = "Apply accounts, kernel settings, files and units"
    assert second["tasks"][2:] == [["frr", apply], ["frr", confirmed], ["announcer", apply]]
    upper = tmp_path / "upper"
    assert [(upper / "srv" / verb).read_text() for verb in ("arm", "confirm")] == ["first\n", "second\n"]
    assert (upper / "etc/frr/frr.conf.template").read_text() == BASE.files[1].text
    assert (upper / "etc/secret").read_text() == "do not tell"
    assert [run["leaked"] for run in (first, again, second)] == [0, 0, 0]


def test_a_failure_names_its_role_and_stops_before_the_next(tmp_path: Path) -> None:
    """The failed role shares its task with the role before it, which stays applied."""
    broken = replace(SECRET, files=(replace(SECRET.files[0], validate="/bin/false"),))
    (run,) = applied(tmp_path, (BASE, broken, FRR, LAST))
    assert run["failed"] == ["nftables", "/etc/secret refused by its check: "]
    assert (tmp_path / "upper" / CONFIRM.lstrip("/")).exists()
    assert not (tmp_path / "upper/etc/frr/frr.conf").exists()
    assert run["leaked"] == 0
