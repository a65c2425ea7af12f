"""A bureau's gateway, rendered: compared with a file that an engineer can read, and validated by HAProxy itself.

After an intended change, write it again: GOVCLOUD_GOLDEN=write pytest tests/unit/playbooks/test_render_gateway.py
"""

from __future__ import annotations

from pathlib import Path

import pytest

from estate.addressing import AddressPlan, plan
from estate.model import Estate
from playbooks.render import announcer, gateway, haproxy, ingress
from playbooks.render.gateway import Route
from playbooks.render.pki import gateway_certificate, leaves
from tests import golden, image_programs
from tests.unit.playbooks.clusters import files_of, switched_on, with_gateway

ROUTES = (
    Route(host="records.planning.govcloud", service="gateway-to-records-8080", address="10.192.20.7", port=8080),
    Route(host="maps.planning.govcloud", service="gateway-to-maps-9000", address="fd64:c10d:4::1:7", port=9000),
)


def test_the_gateway_matches_its_golden_file() -> None:
    text = gateway.config_text("planning-gateway", ROUTES, ("10.64.1.11", "fd64:c10d:0:1::11", "10.129.11.1"))
    golden.same(text, "gateway/planning.haproxy.cfg")


@pytest.mark.parametrize(
    ("host", "path", "name"),
    [
        ("futian-kube1", ingress.CONFIG_FILE, "ingress.haproxy.cfg"),
        ("futian-kube1", "/etc/systemd/network/30-lo.network", "30-lo.network"),
        ("shaoguan-edge1", announcer.SETTINGS, "announcer.json"),
    ],
)
def test_the_ingress_and_edge_of_a_gateway_match_their_golden_files(
    estate: Estate, host: str, path: str, name: str
) -> None:
    """The site's ingress serves it at an address of its own. The edge announces it while the ingress finds it ready."""
    golden.same(files_of(with_gateway(switched_on(estate)), host)[path].text, f"gateway/{name}")


def test_a_site_without_a_cluster_has_no_gateway(estate: Estate) -> None:
    """The site does not announce one either."""
    declared = with_gateway(switched_on(estate, "shaoguan"))
    assert "planning" not in files_of(declared, "futian-kube1")[ingress.CONFIG_FILE].text
    assert "planning" not in files_of(declared, "futian-edge1")[announcer.SETTINGS].text


def test_without_an_ingress_no_client_may_set_the_citizens_address() -> None:
    """Users of the component outside the estate have no ingress."""
    text = gateway.config_text("planning-gateway", ROUTES)
    assert "accept-proxy" not in text
    assert str(gateway.PROXIED_PORT) not in text


def test_haproxy_itself_accepts_it(tmp_path: Path) -> None:
    text = gateway.config_text("planning-gateway", ROUTES).replace(
        f"ssl crt {gateway.BUNDLE_FILE} alpn h2,http/1.1", ""
    )
    path = tmp_path / "haproxy.cfg"
    path.write_text(text, encoding="utf-8")
    image_programs.accepts("haproxy", "-c", "-f", path)


def test_ingress_and_gateway_have_the_same_tls_settings(estate: Estate, addresses: AddressPlan) -> None:
    """Both use the same text."""
    for text in (
        ingress.config_text(estate, addresses, estate.host("futian-kube1")),
        gateway.config_text("planning-gateway", ROUTES),
    ):
        assert haproxy.TLS in text
        assert text.count("ssl-min-ver") == text.count("ssl-default-bind-ciphers") == 1


@pytest.mark.parametrize(
    ("hosts", "message"),
    [
        (("Records.govcloud",), "is no host name"),
        (("records",), "is no host name"),
        (("10.64.1.11",), "is no host name"),
        (("-records.govcloud",), "is no host name"),
        (("records.govcloud\n    stats enable",), "is no host name"),
        ((f"{'a.' * 130}govcloud",), "is no host name"),
        (("records.govcloud", "records.govcloud"), "there are 2 routes of records.govcloud"),
    ],
)
def test_invalid_host_names_are_refused(hosts: tuple[str, ...], message: str) -> None:
    """Also names that would add lines to the configuration."""
    with pytest.raises(ValueError, match=message):
        gateway.config_text("gateway", [Route(host=host, service="a", address="10.0.0.1", port=8080) for host in hosts])


def test_each_gateway_has_one_certificate_with_all_its_names(estate: Estate) -> None:
    """Without a gateway, the estate's certificates are unchanged."""
    declared = with_gateway(switched_on(estate))
    before, after = leaves(estate, plan(estate)), leaves(declared, plan(declared))
    assert after[: len(before)] == before
    [own] = after[len(before) :]
    assert (own.name, own.usages) == (gateway_certificate("planning"), ("server",))
    assert own.sans == ("records.planning.govcloud", "maps.planning.govcloud", "m.planning.govcloud")


def test_a_gateways_address_is_outside_the_range_that_kubernetes_assigns(estate: Estate) -> None:
    """It is different from the services' own addresses."""
    declared = with_gateway(switched_on(estate))
    for cluster in plan(declared).clusters.values():
        own = cluster.gateways["planning"]
        offset = int(own.ipv4) - int(cluster.cluster_ips.ipv4.network_address)
        assert offset == int(own.ipv6) - int(cluster.cluster_ips.ipv6.network_address) == 202
        assert own not in cluster.services.values()
