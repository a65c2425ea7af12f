#!/usr/bin/python3
# ruff: noqa: PTH103, PTH104, PTH106, PTH110, PTH112, PTH118, PTH119, PTH120, PTH123, PTH208
"""Patroni's program to create a replica. It never destroys WAL that only this host has.

Patroni calls it if the data directory is empty, and if this member's WAL has diverged from the primary's: it was
primary and wrote WAL that no survivor has. With these steps, a crash or a full disk at any point loses nothing:

1. it renames a data directory aside and never removes it in place;
2. it moves the WAL after the fork to the folder of kept forks, with a report about it, then removes the rest;
3. it takes a base backup into a separate folder and renames the folder into place when the backup is complete.

Patroni removes the data directory if this program fails. It has been renamed aside by then, and the next call
continues.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

SEGMENT = re.compile(r"^([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})$")
LEADER_TIMEOUT_S = 30
REPORT = "report.json"
UNFINISHED = REPORT + ".part"


class CannotKeep(Exception):
    """The fork could not be kept. Nothing of it was removed."""


class Arguments(argparse.Namespace):
    """The options with which Patroni calls the program."""

    datadir: str
    connstring: str
    bindir: str
    aside: str
    kept: str
    member: str


def say(text: str) -> None:
    print(f"rejoin: {text}", flush=True)


def lsn(text: str) -> int:
    high, low = text.split("/")
    return (int(high, 16) << 32) + int(low, 16)


def lsn_text(value: int) -> str:
    return f"{value >> 32:X}/{value & 0xFFFFFFFF:X}"


def fork_of(history: str, timeline: int) -> int | None:
    """Return the byte at which `timeline` ended, from a timeline history file; None if the file does not contain it."""
    for line in history.splitlines():
        fields = line.split()
        if len(fields) >= 2 and fields[0].isdigit() and int(fields[0]) == timeline:
            return lsn(fields[1])
    return None


def segments(names: Iterable[str], timeline: int, start: int, segment_size: int) -> list[str]:
    """Return the names of the timeline's WAL segments in order, from the segment that contains byte `start`."""
    per_file = 0x100000000 // segment_size
    found = []
    for name in sorted(names):
        match = SEGMENT.match(name)
        if match and int(match.group(1), 16) == timeline:
            number = int(match.group(2), 16) * per_file + int(match.group(3), 16)
            if (number + 1) * segment_size > start:
                found.append((number, name))
    return [name for _, name in sorted(found)]


def newest_timeline(names: Iterable[str]) -> int | None:
    """Return the highest timeline of any WAL segment, None if there is no segment."""
    numbers = [int(match.group(1), 16) for match in map(SEGMENT.match, names) if match]
    return max(numbers, default=None)


def run(argv: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, check=False, **options)


def from_leader(args: Arguments, command: str) -> str:
    """Return the leader's answer to a replication command. Raise CannotKeep if there is no answer."""
    try:
        done = run(
            [os.path.join(args.bindir, "psql"), "-XAtw", "-F", "|", "-c", command, args.connstring + " replication=1"],
            timeout=LEADER_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise CannotKeep(f"the leader did not answer {command}") from None
    if done.returncode:
        raise CannotKeep(f"the leader refused {command}: {done.stderr.strip()}")
    return done.stdout


def control(args: Arguments, folder: str) -> dict[str, str]:
    done = run([os.path.join(args.bindir, "pg_controldata"), "-D", folder], env=dict(os.environ, LC_ALL="C"))
    lines = (line.partition(":") for line in done.stdout.splitlines())
    return {name.strip(): value.strip() for name, colon, value in lines if colon}


def fork_point(args: Arguments, timeline: int, system: str) -> int | None:
    """Return the byte at which the leader left our timeline, or None if it never left it (nothing diverged)."""
    leader_system, leader_timeline = from_leader(args, "IDENTIFY_SYSTEM").strip().split("|")[:2]
    if leader_system != system:
        raise CannotKeep(f"the leader is of system {leader_system}, this data of {system}: an operator must decide")
    if int(leader_timeline) == timeline:
        return None
    history = from_leader(args, f"TIMELINE_HISTORY {leader_timeline}") if int(leader_timeline) > 1 else ""
    return fork_of(history, timeline) or 0


def waldump(args: Arguments, folder: str, timeline: int, start: int) -> tuple[str | None, int, int]:
    """Return (start of the last record as text or None, number of records, number of commits) after `start`."""
    argv = [
        os.path.join(args.bindir, "pg_waldump"),
        "--path",
        os.path.join(folder, "pg_wal"),
        "--timeline",
        str(timeline),
        "--start",
        lsn_text(start),
    ]
    last, records, commits = None, 0, 0
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, universal_newlines=True) as process:
        for line in process.stdout or ():
            records += 1
            match = re.search(r"lsn: ([0-9A-F]+/[0-9A-F]+)", line)
            last = match.group(1) if match else last
            commits += "desc: COMMIT" in line
    return last, records, commits


def sync_folder(path: str) -> None:
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


def keep(args: Arguments, folder: str) -> dict[str, Any] | None:
    """Move the WAL after the fork out of `folder` and write a report.

    Return the report, or None if there is no fork.
    """
    wal = os.path.join(folder, "pg_wal")
    names = os.listdir(wal) if os.path.isdir(wal) else []
    timeline = newest_timeline(names)
    if timeline is None:
        return None
    facts = control(args, folder)
    start = fork_point(args, timeline, facts.get("Database system identifier", ""))
    if start is None:
        return None
    size = int(facts.get("Bytes per WAL segment") or 16 * 1024 * 1024)
    chosen = segments(names, timeline, start, size)
    first = start or (lsn(facts["Latest checkpoint's REDO location"]) if chosen else 0)
    last, records, commits = waldump(args, folder, timeline, first)
    if not records or not chosen:
        return None
    end = lsn(last) if last else start
    chosen = [name for name in chosen if name not in segments(names, timeline, (end // size + 2) * size, size)]
    report = {
        "member": args.member,
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "timeline": timeline,
        "fork": lsn_text(start),
        "last_record": last,
        "records": records,
        "commits": commits,
        "files": chosen,
        "bytes": len(chosen) * size,
    }
    target = os.path.join(args.kept, os.path.basename(folder))
    os.makedirs(target, mode=0o700, exist_ok=True)
    with open(os.path.join(target, UNFINISHED), "w") as stream:
        json.dump(report, stream, indent=1, sort_keys=True)
        stream.flush()
        os.fsync(stream.fileno())
    sync_folder(target)
    return finish(target, wal)


def finish(target: str, wal: str) -> dict[str, Any]:
    """Move the segments of the unfinished report that are not in `target` yet, then mark the report as finished."""
    with open(os.path.join(target, UNFINISHED)) as stream:
        report: dict[str, Any] = json.load(stream)
    for name in report["files"]:
        if os.path.exists(os.path.join(wal, name)):
            os.rename(os.path.join(wal, name), os.path.join(target, name))
    sync_folder(target)
    os.rename(os.path.join(target, UNFINISHED), os.path.join(target, REPORT))
    sync_folder(target)
    sync_folder(os.path.dirname(target))
    return report


def set_aside(args: Arguments) -> None:
    """Rename an existing data directory; remove an empty one."""
    if not os.path.isdir(args.datadir):
        return
    if not os.listdir(args.datadir):
        os.rmdir(args.datadir)
        return
    name = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    os.makedirs(args.aside, mode=0o700, exist_ok=True)
    target = os.path.join(args.aside, name)
    number = 1
    while os.path.exists(target):
        number += 1
        target = os.path.join(args.aside, f"{name}-{number}")
    os.rename(args.datadir, target)
    sync_folder(os.path.dirname(args.datadir))
    say(f"the data directory is set aside as {target}")


def settle(args: Arguments) -> None:
    """Keep the forks of all data directories that were set aside, then remove the rest of them."""
    for name in sorted(os.listdir(args.aside)) if os.path.isdir(args.aside) else []:
        folder = os.path.join(args.aside, name)
        target = os.path.join(args.kept, name)
        if not os.path.exists(os.path.join(target, REPORT)):
            begun = os.path.exists(os.path.join(target, UNFINISHED))
            report = finish(target, os.path.join(folder, "pg_wal")) if begun else keep(args, folder)
            say(f"diverged WAL is kept: {json.dumps(report, sort_keys=True)}" if report else f"{name} holds no fork")
        shutil.rmtree(folder)


def backup(args: Arguments) -> int:
    """Take a base backup. It appears in the data directory only if it is complete."""
    incoming = args.datadir + ".incoming"
    shutil.rmtree(incoming, ignore_errors=True)
    argv = [
        os.path.join(args.bindir, "pg_basebackup"),
        "-w",
        "-D",
        incoming,
        "-X",
        "stream",
        "-c",
        "fast",
        "-d",
        args.connstring,
    ]
    code = subprocess.call(argv)
    if code == 0:
        os.rename(incoming, args.datadir)
        sync_folder(os.path.dirname(args.datadir))
    else:
        shutil.rmtree(incoming, ignore_errors=True)
    return code


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser()
    for name in ("datadir", "connstring", "bindir", "aside", "kept", "member"):
        parser.add_argument("--" + name, required=True)
    args, _ = parser.parse_known_args(argv, Arguments())
    set_aside(args)
    try:
        settle(args)
    except (CannotKeep, OSError) as error:
        say(f"not rejoining yet: {error}")
        return 1
    return backup(args)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
