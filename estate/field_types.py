"""Types of single values, and the messages that describe a valid value."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Network
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

NAME = r"^[a-z]([a-z0-9-]{0,29}[a-z0-9])?$"
Name = Annotated[str, Field(pattern=NAME)]
LINK_NAME = r"^[a-z]([a-z0-9-]{0,13}[a-z0-9])?$"
LinkName = Annotated[str, Field(pattern=LINK_NAME)]
"""A link's name is also an interface's name on both routers. Linux allows 15 characters."""

HOST_NAME = r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?"
"""A complete DNS name, as browsers request it."""
HostName = Annotated[str, Field(pattern=f"^{HOST_NAME}$", max_length=253)]
WEB_ADDRESS, DIGITS = r"^https://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9/_.-]*)?$", r"^[0-9]{3,11}$"
MOUNT, USER, VERSION = r"^/[a-z0-9/_-]+$", r"^[a-z_][a-z0-9_-]{0,31}$", r"^1\.[0-9]{1,3}\.[0-9]{1,3}$"

PATTERN_MESSAGES = {
    NAME: "must be 1 to 31 lower-case letters, digits and hyphens, a letter first and no hyphen last, such as"
    " futian-kube1",
    LINK_NAME: "must be 1 to 15 lower-case letters, digits and hyphens, a letter first and no hyphen last, such as"
    " city-a: it is also an interface's name",
    f"^{HOST_NAME}$": "must be a complete DNS name in lower-case letters, digits, hyphens and dots, such as"
    " records.planning.govcloud",
    MOUNT: "must be an absolute path of lower-case letters, digits, _ and -, such as /srv/data",
    USER: "must be a login name of at most 32 lower-case letters, digits, _ and -, such as operator",
    WEB_ADDRESS: "must be an https address without a query, such as https://sms.example/api",
    DIGITS: "must be 3 to 11 digits in quotes, such as '1540'",
    VERSION: "must be a version of Kubernetes 1 with its patch, such as 1.37.2",
}
"""Message for a value that does not match the pattern, by pattern."""

Asn = Annotated[int, Field(ge=1, le=4294967294, strict=True)]
Count = Annotated[int, Field(ge=0, strict=True)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]
Flag = Annotated[bool, Field(strict=True)]


def _text(value: object) -> object:
    """Require text for addresses. A number would silently become the address with that value."""
    if isinstance(value, (str, IPv4Network, IPv6Network)):
        return value
    raise ValueError('must be text such as 10.0.0.0/24 or "fd00::/48", in quotes if it contains colons')


def _ipv4(value: str) -> str:
    try:
        IPv4Address(value)
    except ValueError:
        raise ValueError("must be an IPv4 address without a length, such as 10.127.0.11") from None
    return value


def _visible(value: str) -> str:
    """Require visible characters. Invisible or bidirectional ones could forge titles in reports and terminals."""
    hidden = next((character for character in value if not character.isprintable()), None)
    if hidden or not value.strip():
        found = f"contains the invisible character U+{ord(hidden):04X}" if hidden else "contains only spaces"
        raise ValueError(f"{found}; use visible text")
    return value


TitleText = Annotated[str, Field(min_length=1, max_length=60), AfterValidator(_visible)]

AddressText = Annotated[str, AfterValidator(_ipv4)]
"""An IPv4 address, kept as text."""

Prefix4 = Annotated[IPv4Network, BeforeValidator(_text)]
Prefix6 = Annotated[IPv6Network, BeforeValidator(_text)]
