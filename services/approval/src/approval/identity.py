"""Checks of residents' identity numbers, names and mobile numbers.

Only holders of an 18-digit resident identity number (GB 11643) can settle their household registration. A name is the
one on that identity card: Han characters, and the middle dot U+00B7 between the parts of a transliterated name. Latin
letters, full-width forms, compatibility ideographs and look-alike dots are refused, each with its own code: a name that
looks right but is a different string would silently not be found in the register.
"""

import re
import unicodedata
from datetime import date

WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
CHECK_CHARACTERS = "10X98765432"
SYNTHETIC_REGION = "99"
"""Province part of synthetic people's numbers. No real region has it."""
SYNTHETIC_SEGMENT = "154"
"""First digits of synthetic people's mobile numbers. No operator has this segment."""
MOBILE = re.compile(r"(?:\+86[ -]?)?1[3-9][0-9][ -]?[0-9]{4}[ -]?[0-9]{4}")

PROVINCES = frozenset(
    f"{region}{number}"
    for region, numbers in {1: 5, 2: 3, 3: 7, 4: 6, 5: 4, 6: 5, 7: 1, 8: 3}.items()
    for number in range(0 if region == 5 else 1, numbers + 1)
)
"""Province codes by large region: 11 to 15 in the north, … 50 to 54 in the southwest, … 71, and 81 to 83."""
MIDDLE_DOT = "\u00b7"
DOT_LOOKALIKES = frozenset("\u2022\u2027\u2219\u22c5\u30fb\uff65\uff0e\u3002.\u2024\u0387")
NAME_LENGTH = (2, 40)
HAN_RANGES = (
    (0x3007, 0x3007),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2EBE0),
    (0x2EBF0, 0x2EE5D),
    (0x30000, 0x323AF),
)


def check_digit(first17: str) -> str:
    """Return the 18th character for the first 17 digits (GB 11643, ISO 7064 MOD 11-2)."""
    return CHECK_CHARACTERS[sum(int(digit) * weight for digit, weight in zip(first17, WEIGHTS, strict=True)) % 11]


def id_number_problem(number: str, today: date) -> str | None:
    """Return the code of the first problem of an identity number, or None. `today` is the latest date of birth."""
    if len(number) != 18 or not number.isascii() or not number[:17].isdigit() or number[17] not in "0123456789X":
        return "id_number_malformed"
    if number[:2] not in PROVINCES and number[:2] != SYNTHETIC_REGION:
        return "id_number_region"
    try:
        born = date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    except ValueError:
        return "id_number_birth"
    if not date(1900, 1, 1) <= born <= today:
        return "id_number_birth"
    if check_digit(number[:17]) != number[17]:
        return "id_number_check_digit"
    return None


def is_synthetic(number: str) -> bool:
    """Return whether the number belongs to a synthetic person."""
    return number.startswith(SYNTHETIC_REGION)


def normal_mobile(text: str) -> str | None:
    """Return the 11 digits of a mainland mobile number, or None if the text is not one.

    The country code +86 is optional. Single spaces or hyphens may separate the usual groups: 138 0013 8000.
    """
    return re.sub("[^0-9]", "", text)[-11:] if MOBILE.fullmatch(text) else None


def is_synthetic_mobile(mobile: str) -> bool:
    """Return whether a normalised number belongs to a synthetic person."""
    return mobile.startswith(SYNTHETIC_SEGMENT)


def name_problem(name: str) -> str | None:
    """Return the code of the first problem of a name, or None."""
    if has_hidden_characters(name):
        return "name_control"
    if not NAME_LENGTH[0] <= len(name) <= NAME_LENGTH[1]:
        return "name_length"
    if any(character in DOT_LOOKALIKES for character in name):
        return "name_dot"
    if unicodedata.normalize("NFKC", name) != name:
        return "name_lookalike"
    parts = name.split(MIDDLE_DOT)
    if not all(part and all(is_han(character) for character in part) for part in parts):
        return "name_characters"
    return None


def text_problem(text: str, longest: int) -> str | None:
    """Return the code of the first problem of a free text (employer, university), or None.

    Full-width brackets are allowed, because such names often have them.
    """
    if has_hidden_characters(text):
        return "text_control"
    if not 1 <= len(text) <= longest or text != text.strip():
        return "text_length"
    plain = text.replace("（", "").replace("）", "")
    if unicodedata.normalize("NFKC", plain) != plain:
        return "text_lookalike"
    return None


def has_hidden_characters(text: str) -> bool:
    """Return whether the text has control, format, private, surrogate or unassigned characters.

    People can neither see nor type them.
    """
    return any(unicodedata.category(character)[0] == "C" for character in text)


def is_han(character: str) -> bool:
    """Return whether a character is a unified Han ideograph, not a radical or a compatibility form."""
    return any(low <= ord(character) <= high for low, high in HAN_RANGES)
