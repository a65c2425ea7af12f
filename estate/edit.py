"""Changing one value in an estate's file, and not one character besides: comments and layout are their author's."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from estate.loader import parse


def with_value(text: str, keys: Sequence[str | int], value: str) -> str:
    """The YAML text with the value at a key path replaced; an integer is a list's index.

    Raises KeyError where nothing, or no single value, stands there.
    """
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    for depth, key in enumerate(keys):
        node = _below(node, key)
        if node is None:
            raise KeyError(".".join(map(str, keys[: depth + 1])))
    if not isinstance(node, yaml.ScalarNode):
        raise KeyError(f"{'.'.join(map(str, keys))} is no single value")
    return text[: node.start_mark.index] + _scalar(value) + text[node.end_mark.index :]


def set_cluster_version(site: str, version: str, path: Path | None = None) -> Path:
    """Declare the version of a site's cluster in the estate at `path` (the project's own where None); its file.

    The file is replaced as a whole or not at all. Raises `EstateError`, KeyError where the site has no cluster, and
    OSError.
    """
    estate, source = parse(path)
    sites = [cluster.site for cluster in estate.clusters]
    if site not in sites:
        raise KeyError(site)
    file = Path(source.file_of("kubernetes"))
    with file.open(encoding="utf-8", newline="") as stream:
        text = stream.read()
    _replace(file, with_value(text, ("kubernetes", "clusters", sites.index(site), "version"), version))
    return file


def _below(node: Any, key: str | int) -> Any:
    if isinstance(key, int):
        entries = node.value if isinstance(node, yaml.SequenceNode) else []
        return entries[key] if key < len(entries) else None
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for name, value in node.value if name.value == key), None)


def _scalar(value: str) -> str:
    """As a person would write it: quoted only where YAML would take it for something else than text."""
    return value if yaml.safe_load(value) == value else yaml.safe_dump(value, default_style='"').rstrip("\n")


def _replace(file: Path, text: str) -> None:
    target = file.resolve()
    draft = target.with_name(f".{target.name}.new")
    try:
        with draft.open("w", encoding="utf-8", newline="") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        shutil.copystat(target, draft)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
