"""Settings of the service from the environment. The names are the same on every platform."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import urlsplit

from messages.policy import SYNTHETIC_SEGMENT

SHORTEST_SECRET = 16


class SettingsError(ValueError):
    """A setting is missing or invalid. The message names it."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of one instance.

    `carrier_ca`: file with the CA certificates of an https carrier, "" for the system's.
    `receipts_url`: where the carrier sends receipts; "" asks for none.
    `deliver_synthetic`: the first digits of the mobile numbers of a lab's test population; "" suppresses all synthetic
    people.
    `parallel`: number of messages that are sent at the same time.
    `poll`: longest time until a new message is noticed.
    `lease`: an attempt that has no result after this time may be repeated by another instance. It must be longer than
    `carrier_timeout`, the longest time of one request to the carrier.
    `give_up`: a message that the carrier has not accepted after this time has failed.
    """

    site: str
    dsn: str
    carrier_url: str
    carrier_token: str = field(repr=False)
    receipt_secret: str = field(repr=False)
    receipts_url: str = ""
    carrier_ca: str = ""
    instance: str = ""
    host: str = "127.0.0.1"
    port: int = 8090
    deliver_synthetic: str = ""
    require_sync: bool = True
    parallel: int = 16
    poll: timedelta = timedelta(seconds=0.25)
    carrier_timeout: timedelta = timedelta(seconds=5)
    lease: timedelta = timedelta(seconds=20)
    give_up: timedelta = timedelta(hours=72)


def from_environment(environment: Mapping[str, str]) -> Settings:
    """Read the settings from GOVCLOUD_SITE and MESSAGES_*. Raise SettingsError that names the wrong variable."""
    host, _, port = environment.get("MESSAGES_LISTEN", "127.0.0.1:8090").rpartition(":")
    settings = Settings(
        site=_required(environment, "GOVCLOUD_SITE"),
        dsn=_required(environment, "MESSAGES_DSN"),
        carrier_url=_url("MESSAGES_CARRIER_URL", _required(environment, "MESSAGES_CARRIER_URL")),
        carrier_token=_required(environment, "MESSAGES_CARRIER_TOKEN"),
        receipt_secret=_secret(environment, "MESSAGES_RECEIPT_SECRET"),
        receipts_url=_url("MESSAGES_RECEIPTS_URL", environment.get("MESSAGES_RECEIPTS_URL", "").strip()),
        carrier_ca=environment.get("MESSAGES_CARRIER_CA", "").strip(),
        instance=environment.get("MESSAGES_INSTANCE", ""),
        host=host.strip("[]"),
        port=_number("MESSAGES_LISTEN", port, 65_535),
        deliver_synthetic=_test_numbers(environment, "MESSAGES_DELIVER_SYNTHETIC"),
        require_sync=_switch(environment, "MESSAGES_REQUIRE_SYNC", True),
        parallel=_number("MESSAGES_PARALLEL", environment.get("MESSAGES_PARALLEL", "16"), 200),
        lease=timedelta(seconds=_number("MESSAGES_LEASE_S", environment.get("MESSAGES_LEASE_S", "20"), 600)),
        carrier_timeout=timedelta(
            seconds=_number("MESSAGES_CARRIER_TIMEOUT_S", environment.get("MESSAGES_CARRIER_TIMEOUT_S", "5"), 60)
        ),
    )
    if settings.lease <= settings.carrier_timeout:
        raise SettingsError("MESSAGES_LEASE_S must be longer than MESSAGES_CARRIER_TIMEOUT_S")
    return settings


def _required(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "").strip()
    if not value:
        raise SettingsError(f"{name} is not set")
    return value


def _secret(environment: Mapping[str, str], name: str) -> str:
    value = _required(environment, name)
    if len(value) < SHORTEST_SECRET:
        raise SettingsError(f"{name} is shorter than {SHORTEST_SECRET} characters")
    return value


def _url(name: str, value: str) -> str:
    parts = urlsplit(value)
    if value and (parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment):
        raise SettingsError(f"{name}: {value!r} is not an http or https address")
    return value.rstrip("/")


def _number(name: str, text: str, largest: int) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= largest:
        raise SettingsError(f"{name}: {text!r} is not a number from 1 to {largest}")
    return int(text)


def _test_numbers(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "").strip()
    if value and not (value.isascii() and value.isdigit() and value.startswith(SYNTHETIC_SEGMENT)):
        raise SettingsError(f"{name}: {value!r} does not start with {SYNTHETIC_SEGMENT}, the synthetic segment")
    return value


def _switch(environment: Mapping[str, str], name: str, default: bool) -> bool:
    value = environment.get(name, "")
    if value not in ("", "0", "1"):
        raise SettingsError(f"{name}: {value!r} is neither 0 nor 1")
    return default if value == "" else value == "1"
