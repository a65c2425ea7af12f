"""Settings of the service from the environment. The names are the same on every platform."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from approval.identity import SYNTHETIC_SEGMENT, is_synthetic_mobile


class SettingsError(ValueError):
    """A setting is missing or invalid. The message names it."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of one instance.

    `before_commit`: a write may search for a primary and prepare for this long. After that it is refused, and nothing
    is stored.
    `commit`: the commit may take this much longer. After that the answer is "unknown".
    `instance`: the name of the instance if a site has several. Its metrics carry it.
    `deliver_synthetic`: the first digits of the mobile numbers of a lab's test population. Only these synthetic people
    get messages; the default "" suppresses the messages to all of them.
    `require_sync`: refuse writes while PostgreSQL has no synchronous standby configured. Switch it off only for a
    single database on a developer's machine.
    """

    site: str
    write_dsn: str
    read_dsn: str
    instance: str = ""
    host: str = "127.0.0.1"
    port: int = 8080
    synthetic: bool = False
    deliver_synthetic: str = ""
    require_sync: bool = True
    write_connections: int = 12
    read_connections: int = 6
    before_commit: timedelta = timedelta(seconds=0.9)
    commit: timedelta = timedelta(seconds=1.5)
    read: timedelta = timedelta(seconds=0.8)


def from_environment(environment: Mapping[str, str]) -> Settings:
    """Read the settings from GOVCLOUD_SITE and APPROVAL_*. Raise SettingsError that names the wrong variable."""
    host, _, port = environment.get("APPROVAL_LISTEN", "127.0.0.1:8080").rpartition(":")
    return Settings(
        site=_required(environment, "GOVCLOUD_SITE"),
        write_dsn=_required(environment, "APPROVAL_WRITE_DSN"),
        read_dsn=_required(environment, "APPROVAL_READ_DSN"),
        instance=environment.get("APPROVAL_INSTANCE", ""),
        host=host.strip("[]"),
        port=_number("APPROVAL_LISTEN", port, 65_535),
        synthetic=_switch(environment, "APPROVAL_SYNTHETIC", False),
        deliver_synthetic=_test_numbers(environment, "APPROVAL_DELIVER_SYNTHETIC"),
        require_sync=_switch(environment, "APPROVAL_REQUIRE_SYNC", True),
        write_connections=_number(
            "APPROVAL_WRITE_CONNECTIONS", environment.get("APPROVAL_WRITE_CONNECTIONS", "12"), 200
        ),
        read_connections=_number("APPROVAL_READ_CONNECTIONS", environment.get("APPROVAL_READ_CONNECTIONS", "6"), 200),
    )


def _required(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "").strip()
    if not value:
        raise SettingsError(f"{name} is not set")
    return value


def _number(name: str, text: str, largest: int) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= largest:
        raise SettingsError(f"{name}: {text!r} is not a number from 1 to {largest}")
    return int(text)


def _test_numbers(environment: Mapping[str, str], name: str) -> str:
    """Return the first digits of a test population's numbers. They must be inside the synthetic segment."""
    value = environment.get(name, "").strip()
    if value and not (value.isascii() and value.isdigit() and len(value) <= 11 and is_synthetic_mobile(value)):
        raise SettingsError(f"{name}: {value!r} does not start with {SYNTHETIC_SEGMENT}, the synthetic segment")
    return value


def _switch(environment: Mapping[str, str], name: str, default: bool) -> bool:
    value = environment.get(name, "")
    if value not in ("", "0", "1"):
        raise SettingsError(f"{name}: {value!r} is neither 0 nor 1")
    return default if value == "" else value == "1"
