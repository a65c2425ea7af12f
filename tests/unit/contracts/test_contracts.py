"""A contract is read strictly, and every mistake names its file and field."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from contracts.loader import RESERVED, ContractError, contract, contracts, names
from estate.checks import check, references
from estate.loader import load, parse
from estate.model import Estate
from facts import ports
from playbooks.render import services
from tests import second_service
from tests.second_service import LETTERS
from workstation import paths


@pytest.fixture(scope="module")
def estate() -> Estate:
    """Return the project's own estate."""
    return load()


def test_every_folder_of_services_has_a_valid_contract() -> None:
    """A folder without a contract would never be deployed."""
    folders = (path.parent.name for path in (paths.repo() / "services").glob("*/pyproject.toml"))
    assert [one.name for one in contracts()] == sorted(folders)


def test_a_second_service_needs_only_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    second_service.install(tmp_path, monkeypatch)
    assert "letters" in names()
    letters = contract("letters")
    assert letters.health.paths == ("/livez", "/sendz")
    assert letters.passwords == ("letters_app", "letters_carrier")
    assert letters.backends == ("letters-probes",)
    assert [one.name for one in contracts()] == sorted(names())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("port: 8090", "port: eighty", "port: Input should be a valid integer"),
        ("port: 8090", "port: 80", "port: Input should be greater than or equal to 1024"),
        ("port: 8090", 'port: "8090"', "port: Input should be a valid integer"),
        ("live: /livez", "alive: /livez", "health.live: Field required"),
        ("live: /livez", "live: livez", "health.live: String should match pattern"),
        (
            "{port}",
            "{prot}",
            "environment: Value error, '{prot}' has the unknown placeholder 'prot'; known: site, port",
        ),
        ("{port}", "{port", "environment: Value error, expected '}' before end of string"),
        ("{port}", "{port!z}", "environment: Value error, '{port!z}' has the unknown placeholder 'port!z'"),
        ("{port}", "{port:>{lab}}", "environment: Value error, '{port:>{lab}}' has the unknown placeholder"),
        ("port: 8090", "port: 8090\nport: 8091", "line 2, column 1: key 'port' is there twice, keep one"),
        ("LETTERS_PORT", "lettersPort", "environment.lettersPort.[key]: String should match pattern"),
        ("port: 8090", "name: letters\nport: 8090", "must have no `name`"),
        ("port: 8090", "since: 2026-12-01\nport: 8090", "Object of type date"),
    ],
)
def test_a_mistake_names_file_and_field(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, message: str
) -> None:
    assert old in LETTERS
    second_service.install(tmp_path, monkeypatch, LETTERS.replace(old, new, 1))
    with pytest.raises(ContractError) as caught:
        contract("letters")
    assert f"services/letters/service.yaml: {message}" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("monitoring_port: 8081", "monitoring_port: 8080", "monitoring_port 8080 is also used by approval"),
        ("login: letters_app", "login: approval_app", "login or secret approval_app is also used by approval"),
        ("health: {", "health: {backend: probes, ", "backend probes is also used by approval"),
        ("name: approval", "name: letters", "no service owns the database letters"),
        ("login: letters_app", "login: letters_app, owner: letters_owner", "database with an owner approval is also"),
        ("port: 8090", "public: {at_once: 1, repeatable: false, down: {zh: 无, en: Down}}\nport: 8090", "health.ready"),
        ("port: 8090", "setup: {dsn_variable: A, commands: [{run: [letters]}]}\nport: 8090", "setup needs a database"),
        ("LETTERS_PORT", "PGPASSWORD", "letters: PGPASSWORD is declared twice, or is set by the platform"),
        ("LETTERS_TOKEN", "LETTERS_PORT", "letters: LETTERS_PORT is declared twice"),
        ("login: letters_app", "login: letters_app, roles: [clerks]", "database.roles needs an owner"),
        (
            "port: 8090",
            "synthetic: {client: client.py, rows: SELECT 1, duration: seconds}\nport: 8090",
            "synthetic needs a public entry",
        ),
    ],
)
def test_contracts_that_contradict_each_other_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, message: str
) -> None:
    assert old in LETTERS
    second_service.install(tmp_path, monkeypatch, LETTERS.replace(old, new, 1))
    with pytest.raises(ContractError, match=message):
        contracts()


def test_the_variables_of_the_platform_are_reserved() -> None:
    assert {services.NODE, services.SITE, services.PASSWORD} == set(RESERVED)


@pytest.mark.parametrize("both", [False, True])
def test_a_contract_that_would_not_be_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, both: bool
) -> None:
    """Otherwise the service would seem to have no contract, or another one."""
    folder = second_service.install(tmp_path, monkeypatch)
    (shutil.copy if both else shutil.move)(folder / "service.yaml", folder / "service.yml")
    with pytest.raises(ContractError, match=r"^services/letters/service\.yml: would not be read; rename it to service"):
        contract("letters")


def test_an_unknown_service_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ContractError, match=r"no services/tea/service\.yaml; known services: approval"):
        contract("tea")


def test_the_estate_may_declare_a_second_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, estate: Estate
) -> None:
    """It is not public, so it needs no vantage."""
    second_service.install(tmp_path, monkeypatch)
    both = second_service.declared(estate)
    assert [service.name for service in both.public_services] == ["approval"]
    assert check(both, parse()[1]) == ([], 0)


def test_the_estate_refuses_a_service_with_an_invalid_contract(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, estate: Estate
) -> None:
    """`estate check` is the first step of every command, so no later step sees an invalid contract."""
    second_service.install(tmp_path, monkeypatch, LETTERS.replace("8090", "80"))
    problems, _ = check(second_service.declared(estate), parse()[1])
    found = [problem.message for problem in problems if problem.key == "services[1](letters).name"]
    assert any("services/letters/service.yaml: port: " in message for message in found)


def test_the_estate_refuses_services_whose_contracts_contradict_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, estate: Estate
) -> None:
    second_service.install(tmp_path, monkeypatch, LETTERS.replace("name: approval", "name: post"))
    problems, _ = check(second_service.declared(estate), parse()[1])
    (found,) = [problem for problem in problems if problem.key == "services"]
    assert "no service owns the database post" in found.message


def test_no_service_uses_a_port_of_the_platform() -> None:
    """The ingress listens on the monitoring ports on hosts that have other daemons."""
    taken = {value for value in vars(ports).values() if isinstance(value, int)}
    assert ports.INGRESS_METRICS in taken
    assert {one.monitoring_port for one in contracts()} & taken == set()


def test_a_service_that_uses_a_carrier_needs_one_in_the_estate(
    estate: Estate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = LETTERS.replace('"{primary}"', '"{primary}"\n  LETTERS_CARRIER: "{carrier}"')
    second_service.install(tmp_path, monkeypatch, text)
    both = second_service.declared(estate)
    assert list(references.carriers(both)) == []
    missing = list(references.carriers(both.model_copy(update={"carrier": None})))
    assert [(problem.key, problem.message) for problem in missing] == [
        ("carrier", "is missing, and letters uses it; add it")
    ]
