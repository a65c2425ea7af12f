"""The carrier of text messages: its address, and the program that simulates it in a lab."""

from __future__ import annotations

from estate.addressing import plan
from estate.model import Carrier, Estate
from playbooks import host_programs
from playbooks.render import carrier, fixture_files, fixture_units, province, services

REAL = Carrier(url="https://sms.example/api")


def with_carrier(estate: Estate, own: Carrier | None) -> Estate:
    """Return the estate with another carrier."""
    return estate.model_copy(update={"carrier": own})


def test_services_call_the_simulator_at_the_only_port_that_the_border_opens(estate: Estate) -> None:
    host = plan(estate).lan("province-cloud1")
    assert carrier.address(estate) == f"http://{host.ipv4}:{province.CALLED_PORT}"
    assert carrier.population(estate) == "1540"


def test_a_real_carrier_gets_no_message_to_a_synthetic_person(estate: Estate) -> None:
    """The estate's rules refuse the numbers, and the renderer leaves them out as well."""
    assert carrier.address(with_carrier(estate, REAL)) == "https://sms.example/api"
    named = REAL.model_copy(update={"deliver_synthetic": "1540"})
    assert carrier.population(with_carrier(estate, named)) == ""
    assert (carrier.address(with_carrier(estate, None)), carrier.population(with_carrier(estate, None))) == ("", "")


def test_only_the_declared_host_runs_the_simulator(estate: Estate) -> None:
    files = {file.path: file for file in fixture_files(estate, "province-cloud1")}
    assert files[carrier.PROGRAM].text == host_programs.source("carrier_simulator")
    assert files[carrier.PROGRAM].mode == "0755"
    unit = files[f"/usr/lib/systemd/system/{carrier.UNIT}"].text
    assert f"ExecStart={carrier.PROGRAM} --listen [::]:443 --control 127.0.0.1:8071" in unit
    assert fixture_units(estate, "province-cloud1") == ("systemd-networkd.service", carrier.UNIT)
    for host in ("citizen1", "province-edge1"):
        assert carrier.PROGRAM not in {file.path for file in fixture_files(estate, host)}
        assert carrier.UNIT not in fixture_units(estate, host)
    assert carrier.UNIT not in fixture_units(with_carrier(estate, REAL), "province-cloud1")


def test_the_pods_of_a_service_learn_carrier_and_own_address(estate: Estate) -> None:
    """The contract of the message service asks for them."""
    first = estate.services[0]
    messages = first.model_copy(update={"name": "messages"})
    both = estate.model_copy(update={"services": (first, messages)})
    environment = services.pod_environment(both, messages, "futian")
    assert environment["MESSAGES_CARRIER_URL"] == carrier.address(estate)
    assert environment["MESSAGES_DELIVER_SYNTHETIC"] == "1540"
    assert environment["MESSAGES_RECEIPTS_URL"] == f"https://{plan(both).anycast['messages'].ipv4}/v1/receipts"
