"""Change one value in an estate's file and no other character. Comments and layout stay as their author wrote them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from estate.loader import parse


def with_value(text: str, keys: Sequence[str | int], value: str) -> str:
    """Return the YAML text with the value at a key path replaced. An integer in the path is a list's index.

    Raises KeyError if the path does not exist or is not a single value.
    """
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    for depth, key in enumerate(keys):
        node = _below(node, key)
        if node is None:
            raise KeyError(".".join(map(str, keys[: depth + 1])))
    if not isinstance(node, yaml.ScalarNode):
        raise KeyError(f"{'.'.join(map(str, keys))} is not a single value")
    return text[: node.start_mark.index] + _scalar(value) + text[node.end_mark.index :]


def with_cluster_version(site: str, version: str, path: Path | None = None) -> tuple[Path, str]:
    """Return the file that declares the version of a site's cluster, and its text with this version. Change no file.

    The estate is at `path`; None means the project's own. Raises `EstateError`, OSError, and KeyError if the site has
    no cluster.
    """
    estate, source = parse(path)
    sites = [cluster.site for cluster in estate.clusters]
    if site not in sites:
        raise KeyError(site)
    file = Path(source.file_of("kubernetes"))
    with file.open(encoding="utf-8", newline="") as stream:
        text = stream.read()
    return file, with_value(text, ("kubernetes", "clusters", sites.index(site), "version"), version)


def _below(node: Any, key: str | int) -> Any:
    if isinstance(key, int):
        entries = node.value if isinstance(node, yaml.SequenceNode) else []
        return entries[key] if key < len(entries) else None
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for name, value in node.value if name.value == key), None)


def _scalar(value: str) -> str:
    """Return the value as YAML, quoted only if YAML would not read it as text."""
    return value if yaml.safe_load(value) == value else yaml.safe_dump(value, default_style='"').rstrip("\n")
