"""A bureau gets a gateway: the entry that an operator writes, and an estate that has it."""

from __future__ import annotations

from pathlib import Path

import yaml

from estate.model import Bureau, Estate

BUREAU = "human-resources"
ENTRY = """\
bureaus:
  - name: human-resources
    title: {zh: 市人力资源和社会保障局, en: Human resources and social security}
    quota: {cpus: 1.8, memory_mib: 1280, pods: 8}
    gateway:
      number: 10
      hosts:
        desk.human-resources.govcloud: {pods: approval, port: 8080}
"""
"""Replaces the shipped entry. The gateway leads to the approval service's pods, and the quota is larger."""


def with_the_entry(estate: Estate) -> Estate:
    """Return the estate with this entry."""
    bureaus = tuple(Bureau.model_validate(entry) for entry in yaml.safe_load(ENTRY)["bureaus"])
    return estate.model_copy(update={"bureaus": bureaus})


def write_the_entry(checkout: Path) -> None:
    """Write the entry into the estate of a checkout."""
    (checkout / "estate" / "data" / "bureaus.yaml").write_text(ENTRY, encoding="utf-8")
