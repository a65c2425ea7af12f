"""A fake service on loopback with a CA of its own, and the load generator, started as on a vantage."""

from __future__ import annotations

import contextlib
import datetime
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from estate.loader import load
from failover import vantage
from failover.measured_service import measured_service

NAME = "approval.test"
FIRST = ("nice", "-n", "-15")
"""As on a vantage: the load generator must not wait for other programs of this machine. Without root it only warns."""


@dataclass(frozen=True, kw_only=True)
class Authority:
    """The files of a CA and of a certificate for NAME."""

    ca: Path
    certificate: Path
    key: Path


def make_authority(folder: Path) -> Authority:
    folder.mkdir(parents=True, exist_ok=True)
    now = datetime.datetime.now(datetime.UTC)
    keys = {who: ec.generate_private_key(ec.SECP256R1()) for who in ("ca", "service")}
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test CA")])
    made = {}
    for who, key in keys.items():
        name = ca_name if who == "ca" else x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(ca_name).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(hours=1))
        builder = builder.not_valid_after(now + datetime.timedelta(days=1))
        builder = builder.add_extension(x509.BasicConstraints(ca=who == "ca", path_length=None), critical=True)
        if who == "service":
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        made[who] = builder.sign(keys["ca"], hashes.SHA256())
    private = keys["service"].private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    paths = Authority(ca=folder / "ca.crt", certificate=folder / "service.crt", key=folder / "service.key")
    paths.ca.write_bytes(made["ca"].public_bytes(serialization.Encoding.PEM))
    paths.certificate.write_bytes(made["service"].public_bytes(serialization.Encoding.PEM))
    paths.key.write_bytes(private)
    return paths


@dataclass(frozen=True, kw_only=True)
class RunningFakeService:
    """A running fake service."""

    process: subprocess.Popen[str]
    port: int
    authority: Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def fake_service(authority: Authority) -> Iterator[Callable[..., RunningFakeService]]:
    """Return a function that starts a fake service with the given faults. All services end with the test."""
    with contextlib.ExitStack() as ends:

        def start(*faults: dict[str, object]) -> RunningFakeService:
            script = Path(__file__).with_name("fake_service.py")
            argv = [
                sys.executable,
                str(script),
                "--certificate",
                str(authority.certificate),
                "--key",
                str(authority.key),
            ]
            process = subprocess.Popen(
                [*FIRST, *argv, "--faults", json.dumps(faults)], stdout=subprocess.PIPE, text=True
            )
            ends.callback(_end, process)
            assert process.stdout is not None
            return RunningFakeService(process=process, port=int(process.stdout.readline()), authority=authority)

        yield start


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


@pytest.fixture(scope="module")
def load_generator_python() -> str:
    """Return a Python with aiohttp: the distribution's, as on a vantage, or this one."""
    for python in ("/usr/bin/python3", sys.executable):
        if (
            Path(python).exists()
            and subprocess.run([python, "-c", "import aiohttp"], capture_output=True, check=False).returncode == 0
        ):
            return python
    pytest.fail("no Python here has aiohttp: install the package python3-aiohttp")


@pytest.fixture
def folder(tmp_path: Path, authority: Authority) -> Path:
    """The load generator's folder with the same files as on a vantage."""
    place = tmp_path / "vantage"
    files = vantage.source_files(measured_service(load())[0])
    for name, content in {**files, "ca.crt": authority.ca.read_bytes()}.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)
    return place


@pytest.fixture
def apply(folder: Path, load_generator_python: str) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Return a function that starts a load generator for a fake service. `options` are added to its command line."""
    with contextlib.ExitStack() as ends:

        def start(fake_service: RunningFakeService, *options: str, name: str = NAME) -> subprocess.Popen[str]:
            argv = [
                load_generator_python,
                "-m",
                "load_generator",
                "--ledger",
                "ledger.jsonl",
                "--sentinel",
                "stop",
                "--ca",
                "ca.crt",
            ]
            argv += ["--name", name, "--port", str(fake_service.port), "--address4", "127.0.0.1", "--address6", "::1"]
            argv += ["--seed", "7", "--people-seed", "1", "--people", "1000", "--read-after", "0.5"]
            argv += ["--rate", "20", *options]
            process = subprocess.Popen([*FIRST, *argv], cwd=folder, stderr=subprocess.PIPE, text=True)
            ends.callback(_end, process)
            return process

        yield start


@pytest.fixture
def fake_estate(
    fake_service: Callable[..., RunningFakeService], tmp_path: Path, load_generator_python: str
) -> Iterator[Any]:
    """A `FakeEstate` around a fake service without faults."""
    from tests.integration.failover.fake_estate import FakeEstate  # which imports this module

    made = FakeEstate(
        estate=load(), fake_service=fake_service(), folder=tmp_path / "citizen1", python=load_generator_python
    )
    made.folder.mkdir()
    yield made
    made.close()
