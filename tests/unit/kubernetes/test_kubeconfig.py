"""Problems of a kubeconfig are reported before any call, and never with its credentials."""

from __future__ import annotations

import pytest

from stacks.providers.kubernetes import kubeconfig
from tests.unit.kubernetes.clusters import kubeconfig_text


@pytest.mark.parametrize("around", ["{}\n", "{} ", "\t{}\r\n"])
def test_white_space_around_a_token_is_removed(around: str) -> None:
    user = kubeconfig.access({"kubeconfig": kubeconfig_text(token=around.format("hunter2"))}).config.user
    assert user
    assert user.token == "hunter2"


@pytest.mark.parametrize("token", ["hunter2 hunter2", "hunter2\nhunter2", "hunter2\x00", "hunter2é", "市hunter2"])
def test_a_token_that_is_invalid_in_a_header_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(kubeconfig.BadKubeconfig, match="its token contains a space, a line break or") as caught:
        kubeconfig.access({"kubeconfig": kubeconfig_text(token=token)})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("server", "words"),
    [
        ("10.0.0.1:6443", "has no https:// before it: write https://10.0.0.1:6443"),
        ("https://host:notaport", "is not an address"),
        ("https://[::1", "is not an address"),
        ("https://:6443", "is not an address"),
        ("unix:///run/api.sock", "is not an address"),
    ],
)
def test_an_invalid_server_address_is_reported_with_the_correct_form(server: str, words: str) -> None:
    with pytest.raises(kubeconfig.BadKubeconfig) as caught:
        kubeconfig.access({"kubeconfig": kubeconfig_text(server=server)})
    assert words in str(caught.value)
    assert "write https://" in str(caught.value)
    assert server in str(caught.value)


@pytest.mark.parametrize("server", ["https://10.0.0.1:6443", "https://[2001:db8::1]:6443", "https://api.site/cluster"])
def test_a_valid_address_is_used_unchanged(server: str) -> None:
    assert kubeconfig.access({"kubeconfig": kubeconfig_text(server=server)}).server == server
