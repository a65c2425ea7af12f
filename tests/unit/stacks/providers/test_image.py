"""What a site is told about an image that cannot run there, or that its registry does not take."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from stacks.providers import registry
from stacks.providers.image import Image
from stacks.providers.resource import Call, ResourceFailed
from stacks.providers.values import Properties, to_property
from tools.oci import layout
from workstation import ssh
from workstation.errors import GovcloudError

CALL = Call(name="image-approval", stack="platform", preview=False, timeout_s=0, say=lambda line: None)
NODES = {"futian-kube1": "10.127.0.14", "futian-kube2": "10.127.0.24"}


def image(folder: Path) -> Properties:
    """What the engine hands over for an image of one file, at Futian."""
    (tree := folder / "tree").mkdir()
    (made := folder / "image").mkdir()
    (tree / "version").write_text("1")
    digest = layout.finish(made, [layout.layer(made, tree, lambda path: True)], {"User": "65532"})
    values = {
        "site": "futian",
        "name": "approval",
        "digest": digest,
        "url": "https://10.127.0.14:5000",
        "host": "futian-kube1",
        "nodes": NODES,
        "folder": str(made),
        "identity": {"authority": "", "cert": "", "key": ""},
    }
    return {key: to_property(value) for key, value in values.items()}


@pytest.fixture
def machines(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What `uname -m` says at each address; one without an entry does not answer. All have ARM processors."""
    found = dict.fromkeys(NODES.values(), "aarch64")

    def run(access: ssh.Access, address: str, argv: list[str], *, timeout_s: float) -> ssh.Result:
        assert argv == ["uname", "-m"]
        if address not in found:
            raise ssh.HostUnreachable(f"{address}: no answer")
        return ssh.Result(returncode=0, stdout=f"{found[address]}\n".encode(), stderr=b"")

    monkeypatch.setattr(ssh, "run", run)
    return found


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Digests that the registry has got."""
    found: list[str] = []
    monkeypatch.setattr(registry, "push", lambda there, layout: found.append(layout.digest) or 1)
    return found


def of_architecture(monkeypatch: pytest.MonkeyPatch, machine: str) -> None:
    """Images made from now on are for it."""
    monkeypatch.setattr("platform.machine", lambda: machine)


def test_an_image_of_another_architecture_is_refused_before_anything_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machines: dict[str, str], sent: list[str]
) -> None:
    """With the image, both architectures and what to do."""
    of_architecture(monkeypatch, "x86_64")
    with pytest.raises(ResourceFailed) as failed:
        asyncio.run(Image().create(image(tmp_path), CALL))
    told = "futian: image approval: it is for amd64, and futian-kube1 is arm64, futian-kube2 is arm64: its pods could"
    assert told in str(failed.value)
    assert "run the same command on a workstation that is arm64" in str(failed.value)
    assert sent == []


def test_every_node_of_the_site_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machines: dict[str, str], sent: list[str]
) -> None:
    """Not only the one with the registry: pods may be started on each."""
    of_architecture(monkeypatch, "aarch64")
    machines["10.127.0.24"] = "x86_64"
    with pytest.raises(ResourceFailed, match=r"it is for arm64, and futian-kube2 is amd64: .* of one architecture"):
        asyncio.run(Image().create(image(tmp_path), CALL))
    assert sent == []


def test_a_new_node_is_a_reason_to_ask_again(tmp_path: Path) -> None:
    """Also where the registry has the image already."""
    olds = image(tmp_path)
    news = {**olds, "nodes": to_property({**NODES, "futian-kube3": "10.127.0.34"})}
    assert Image().diff(olds, news).changes
    assert not Image().diff(olds, dict(olds)).changes


def test_a_dead_node_is_told_and_holds_up_nobody_but_one_that_answers_must_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machines: dict[str, str], sent: list[str]
) -> None:
    """It starts no pods. Where nobody answers, nothing is sent."""
    of_architecture(monkeypatch, "aarch64")
    said: list[str] = []
    news, call = image(tmp_path), replace(CALL, say=said.append)
    del machines["10.127.0.24"]
    made, _ = asyncio.run(Image().create(news, call))
    assert made == "futian/approval"
    assert "futian-kube2 does not answer" in said[0]
    assert len(sent) == 1
    machines["10.127.0.24"] = ""
    with pytest.raises(ResourceFailed, match="futian-kube2 does not tell its architecture; look at `uname -m`"):
        asyncio.run(Image().create(news, call))
    machines.clear()
    with pytest.raises(ResourceFailed, match="futian-kube1, futian-kube2 does not tell"):
        asyncio.run(Image().create(news, call))
    assert len(sent) == 1


def test_what_to_do_about_a_registry_is_told_with_its_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machines: dict[str, str]
) -> None:
    of_architecture(monkeypatch, "aarch64")

    def refuse(*given: object) -> bool:
        raise GovcloudError("the image registry of futian-kube1 refused", "see its journal")

    monkeypatch.setattr(registry, "push", refuse)
    monkeypatch.setattr(registry, "holds", refuse)
    news = image(tmp_path)
    with pytest.raises(ResourceFailed, match="approval: the image registry of futian-kube1 refused; see its journal"):
        asyncio.run(Image().create(news, CALL))
    with pytest.raises(ResourceFailed, match="approval: the image registry of futian-kube1 refused; see its journal"):
        asyncio.run(Image().read("futian/approval", news, news, CALL))
