"""A site's image registry on loopback: the real daemon with the role's settings, with its data in a folder."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import yaml

from estate.loader import load
from playbooks import pki
from playbooks.render import registry as role
from playbooks.render.kubernetes.cluster import REGISTRY_PORT
from playbooks.secrets import OPERATOR
from stacks.providers import registry
from tests.polling import until
from tools import command
from tools.image import bake
from workstation.errors import GovcloudError

DAYS = 2


def docker_registry() -> str | None:
    """Return the registry's program: the one of this machine or that of the base image, None if neither exists."""
    if found := shutil.which("docker-registry"):
        return found
    try:
        baked = bake.current() / "usr/bin/docker-registry"
    except GovcloudError:
        return None
    return str(baked) if baked.exists() else None


class Authority:
    """The estate's certificate authority and the operator's certificate. Certificates also name `addresses`."""

    def __init__(self, addresses: Sequence[str] = ()) -> None:
        key, cert = pki.new_authority("estate", DAYS)
        self.authority = pki.Authority(key=key, cert=cert)
        self._addresses = addresses
        self.operator = self.issue(OPERATOR, ["client"])

    def issue(self, name: str, usages: list[str]) -> tuple[str, str]:
        """Return a key and a certificate."""
        return pki.issue(self.authority, name, [name, *self._addresses], DAYS, usages)


class ImageRegistry:
    """The image registry of one host of the estate. Its images stay when it is started again."""

    def __init__(self, folder: Path, address: str, host: str, authority: Authority) -> None:
        self.folder, self._address, self._host, self._authority = folder, address, host, authority
        self.url, self.storage = f"https://{address}:{REGISTRY_PORT}", folder / "data"
        self.config = folder / "config.yml"
        self._running: subprocess.Popen[bytes] | None = None

    @property
    def there(self) -> registry.Registry:
        """The registry as the operator reaches it."""
        key, cert = self._authority.operator
        authority = self._authority.authority.cert
        return registry.Registry(url=self.url, host=self._host, authority=authority, cert=cert, key=key)

    def start(self) -> None:
        """Start the registry with the images that it had before."""
        program = docker_registry()
        assert program
        self.folder.mkdir(exist_ok=True)
        key, cert = self._authority.issue(self._host, ["server"])
        for name, text in (("key", key), ("cert", cert), ("authority", self._authority.authority.cert)):
            (self.folder / name).write_text(text)
        config = yaml.safe_load(role.config(load().host(self._host)))
        config["storage"]["filesystem"]["rootdirectory"] = str(self.storage)
        config["http"]["addr"] = f"{self._address}:{REGISTRY_PORT}"
        config["http"]["tls"].update(
            certificate=str(self.folder / "cert"),
            key=str(self.folder / "key"),
            clientcas=[str(self.folder / "authority")],
        )
        self.config.write_text(yaml.safe_dump(config))
        with (self.folder / "log").open("ab") as log:
            self._running = subprocess.Popen(
                [*command.DIE_WITH_PARENT, program, "serve", str(self.config)], stdout=log, stderr=log
            )
        until(f"the registry of {self._host} answers", self._answers, 30)

    def start_again(self) -> None:
        """Start again as its unit does: first delete all blobs that no manifest references."""
        self.stop()
        collect = [str(docker_registry()), *role.COLLECT.split()[1:-1], str(self.config)]
        subprocess.run(collect, check=True, stdout=subprocess.DEVNULL)
        self.start()

    def stop(self) -> None:
        """Stop the registry as a crash does."""
        if self._running:
            self._running.kill()
            self._running.wait()
            self._running = None

    def empty(self) -> None:
        """Start again with an empty disk, as after the loss of the disk."""
        self.stop()
        shutil.rmtree(self.storage, ignore_errors=True)
        self.start()

    def _answers(self) -> bool:
        try:
            registry.holds(self.there, "none", f"sha256:{0:064}")
        except GovcloudError:
            return False
        return True
