"""What a site is told about an image that cannot run there, or that its registry does not take."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from stacks.providers import registry
from stacks.providers.image import Image
from stacks.providers.resource import Call, ResourceFailed
from stacks.providers.values import Properties, wire
from tools.oci import layout
from workstation import ssh
from workstation.errors import GovcloudError

CALL = Call(name="image-approval", stack="platform", preview=False, timeout_s=0, say=lambda line: None)


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
        "folder": str(made),
        "identity": {"authority": "", "cert": "", "key": ""},
    }
    return {key: wire(value) for key, value in values.items()}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str]]]:
    """Questions to hosts; each has an ARM processor."""
    found: list[tuple[str, list[str]]] = []

    def run(access: ssh.Access, address: str, argv: list[str], *, timeout_s: float) -> ssh.Result:
        found.append((address, argv))
        return ssh.Result(returncode=0, stdout=b"aarch64\n", stderr=b"")

    monkeypatch.setattr(ssh, "run", run)
    return found


def of_architecture(monkeypatch: pytest.MonkeyPatch, machine: str) -> None:
    """Images made from now on are for it."""
    monkeypatch.setattr("platform.machine", lambda: machine)


def test_an_image_of_another_architecture_is_refused_before_anything_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[tuple[str, list[str]]]
) -> None:
    """With the image, both architectures and what to do; the site's kube host is asked, where the registry is."""
    of_architecture(monkeypatch, "x86_64")
    sent: list[object] = []
    monkeypatch.setattr(registry, "push", lambda *given: sent.append(given))
    with pytest.raises(ResourceFailed) as failed:
        asyncio.run(Image().create(image(tmp_path), CALL))
    assert "futian: image approval: it is for amd64, and futian-kube1 is arm64" in str(failed.value)
    assert "run the same command on a workstation that is arm64" in str(failed.value)
    assert (asked, sent) == ([("10.127.0.14", ["uname", "-m"])], [])


def test_one_of_the_sites_own_architecture_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[tuple[str, list[str]]]
) -> None:
    of_architecture(monkeypatch, "aarch64")
    monkeypatch.setattr(registry, "push", lambda *given: 1)
    made, _ = asyncio.run(Image().create(image(tmp_path), CALL))
    assert made == "futian/approval"


def test_what_to_do_about_a_registry_is_told_with_its_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[tuple[str, list[str]]]
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
