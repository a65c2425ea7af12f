"""Load the contracts from the folders of `services/`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from pydantic import ValidationError

from contracts import strict_yaml
from contracts.model import Contract
from contracts.strict_yaml import StrictYamlError

FOLDER = Path(__file__).resolve().parents[1] / "services"
FILE = "service.yaml"
RESERVED = ("GOVCLOUD_SITE", "NODE_IP", "PGPASSWORD")
"""Variables of the pods that the platform sets."""


class ContractError(Exception):
    """A contract is missing or invalid, or two contracts contradict each other. The message names file and field."""


def names() -> tuple[str, ...]:
    """Return the names of all services that the platform can deploy: the folders with a contract, sorted.

    A folder with `service.yml` is one of them, so that `contract` reports the wrong file name.
    """
    return tuple(sorted({path.parent.name for path in FOLDER.glob("*/service.y*ml")}))


def contract(name: str) -> Contract:
    """Return the contract of that name. Raises ContractError."""
    if name not in names():
        raise ContractError(f"there is no services/{name}/{FILE}; known services: {', '.join(names()) or 'none'}")
    return _read(FOLDER / name / FILE)


def contracts() -> tuple[Contract, ...]:
    """Return all contracts. Raises ContractError if one is invalid or two contradict each other."""
    found = tuple(contract(name) for name in names())
    if problem := next(contradictions(found), None):
        raise ContractError(problem)
    return found


def folder(name: str) -> Path:
    """Return the folder of the service."""
    return FOLDER / name


@lru_cache(maxsize=64)
def _read(path: Path) -> Contract:
    where, other = f"services/{path.parent.name}/{FILE}", path.with_suffix(".yml")
    if other.exists():
        raise ContractError(f"services/{path.parent.name}/{other.name}: {strict_yaml.misnamed(other)}")
    try:
        document = strict_yaml.read(path)
        if "name" in document:
            raise ContractError(f"{where}: must have no `name`: the folder has the name; remove it")
        return Contract.model_validate_json(json.dumps({"name": path.parent.name, **document}), strict=True)
    except ValidationError as error:
        raise ContractError("\n".join(f"{where}: {text}" for text in _messages(error))) from None
    except (StrictYamlError, TypeError, ValueError) as error:  # JSON has no dates
        raise ContractError(f"{where}: {error}") from None


def _messages(error: ValidationError) -> Iterator[str]:
    for problem in error.errors(include_url=False):
        yield f"{'.'.join(map(str, problem['loc'])) or 'the file'}: {problem['msg']}"


def contradictions(found: Iterable[Contract]) -> Iterator[str]:
    """Yield the contradictions within and between contracts, each as one sentence. Pure."""
    found = tuple(found)
    yield from (problem for one in found for problem in _own(one))
    yield from _shared("monitoring_port", {one.name: (str(one.monitoring_port),) for one in found})
    yield from _shared("backend", {one.name: one.backends for one in found})
    yield from _shared("login or secret", {one.name: one.passwords for one in found})
    yield from _shared("database with an owner", {one.name: _owned(one) for one in found})
    owned = {name for one in found for name in _owned(one)}
    for one in found:
        if one.database and one.database.name not in owned:
            yield f"{one.name}: no service owns the database {one.database.name}; declare its `owner` in one contract"


def _own(one: Contract) -> Iterator[str]:
    database = one.database
    variables = (*RESERVED, *one.environment, *one.fields, *one.secrets)
    for variable in sorted({name for name in variables if variables.count(name) > 1}):
        yield f"{one.name}: {variable} is declared twice, or is set by the platform; use another variable"
    if one.public and not one.health.ready:
        yield f"{one.name}: a public service needs health.ready: a site is announced only while it is ready"
    if one.setup and not (database and database.owner):
        yield f"{one.name}: setup needs a database with an owner"
    if database and database.roles and not database.owner:
        yield f"{one.name}: database.roles needs an owner"
    if one.synthetic and not (one.public and database and database.owner):
        yield f"{one.name}: synthetic needs a public entry and a database of its own"


def _owned(one: Contract) -> tuple[str, ...]:
    return (one.database.name,) if one.database and one.database.owner else ()


def _shared(what: str, values: dict[str, tuple[str, ...]]) -> Iterator[str]:
    first: dict[str, str] = {}
    for service, own in values.items():
        for value in own:
            if value in first:
                yield f"{service}: the {what} {value} is also used by {first[value]}; change one of them"
            first.setdefault(value, service)
