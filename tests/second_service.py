"""A folder of services with a second contract, and the project's estate with that service.

The second service is as different from the first as the contract allows: citizens do not reach it, it has a login to
the first one's database, a secret, and no synthetic client.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from contracts import loader
from estate.model import Demand, Estate, Placement, Pods

LETTERS = """\
port: 8090
monitoring_port: 8081
health: {live: /livez, write: /sendz}
database: {name: approval, login: letters_app, connections: {primary: 4, local: 2, least: 1}}
environment:
  LETTERS_PORT: "{port}"
  LETTERS_DSN: "{primary}"
  LETTERS_CONNECTIONS: "{primary_connections}"
secrets: {LETTERS_TOKEN: carrier}
"""


def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str = LETTERS, name: str = "letters") -> Path:
    """Use a copy of `services/` with one more contract for the rest of the test. Return the new service's folder."""
    folder = tmp_path / "services"
    if not folder.exists():
        shutil.copytree(loader.FOLDER, folder, ignore=shutil.ignore_patterns("src", "__pycache__"))
        monkeypatch.setattr(loader, "FOLDER", folder)
    own = folder / name
    own.mkdir()
    (own / loader.FILE).write_text(text, encoding="utf-8")
    return own


def declared(estate: Estate, **changes: Any) -> Estate:
    """Return the estate with `letters` at the same sites as the first service, with two pods at each.

    The first service needs less, so that its bureau's quota suffices for both.
    """
    first = estate.services[0].model_copy(
        update={
            "demand": Demand(rate_per_s=50.0, cpus=1.2, memory_mib=768),
            "pods": estate.services[0].pods.model_copy(update={"cpus": 0.25, "memory_mib": 192}),
        }
    )
    second = first.model_copy(
        update={
            "name": "letters",
            "number": 11,
            "placement": Placement(active=first.placement.active, ready=first.placement.ready),
            "demand": Demand(rate_per_s=1.0, cpus=0.2, memory_mib=128),
            "pods": Pods(replicas=dict.fromkeys(first.placement.sites, 2), cpus=0.05, memory_mib=64),
            **changes,
        }
    )
    return estate.model_copy(update={"services": (first, second)})
