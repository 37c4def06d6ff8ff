"""Personal data: addresses, numbers and ids that name a person. Masked, with the way back if it is wanted, or blocked.

What has a check digit is checked, so that an order's number is not taken for a card's. Names, streets and dates are
not found: that takes a language model, and mistakes.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from routewright.guardrails.contract import Seen, Window
from routewright.guardrails.finders import DIGITS, UPPER, WORD, Email, Finder, Scanner, replaced
from routewright.guardrails.finding import ACTIONS, Finding, refuse_others, take

_IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BR": 29, "CH": 21,
    "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FO": 18,
    "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23,
    "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20,
    "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MR": 27, "MT": 31, "MU": 30, "NL": 18, "NO": 15,
    "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "SA": 24, "SC": 31, "SE": 24, "SI": 19,
    "SK": 24, "SM": 27, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20,
}  # fmt: skip
"""Source: SWIFT, IBAN registry."""


_NO_GAPS = str.maketrans("", "", " -")
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
"""A digit doubled, and its digits added."""


def _card(text: str, start: int, end: int) -> int:
    """Luhn sums of all beginnings come from one pass: text of nothing but digits and gaps has one at every place.

    Source: ISO/IEC 7812-1, annex B.
    """
    number = text[start:end].translate(_NO_GAPS)
    if not number.isascii() or len(set(number)) < 2:
        return 0
    even = odd = length = 0
    for place, char in enumerate(number):
        digit = ord(char) - 48
        if place & 1:
            even, odd = even + digit, odd + _DOUBLED[digit]
        else:
            even, odd = even + _DOUBLED[digit], odd + digit
        if place >= 12 and (odd if place & 1 == 0 else even) % 10 == 0 and len(set(number[: place + 1])) > 1:
            length = max(length, _end_of(text, start, place + 1))
    return length


def _end_of(text: str, start: int, count: int) -> int:
    """Where so many digits end; 0 where another follows at once."""
    at = start
    while count:
        count -= text[at].isdigit()
        at += 1
    return 0 if text[at : at + 1].isdigit() else at


def _iban(text: str, start: int, end: int) -> int:
    length = _IBAN_LENGTHS.get(text[start : start + 2].upper(), 0)
    at, count = start, 0
    while at < end and count < length:
        count += text[at] != " "
        at += 1
    after = text[at : at + 1]
    if not length or count < length or (after.isascii() and after.isalnum()):
        return 0
    plain = text[start:at].replace(" ", "").upper()
    number = int("".join([str(int(char, 36)) for char in plain[4:] + plain[:4]]))
    return at if number % 97 == 1 else 0


def _phone(text: str, start: int, end: int) -> int:
    n_digits = sum(char.isdigit() for char in text[start:end])
    return end if 8 <= n_digits <= 15 else 0


def _address(text: str, start: int, end: int) -> int:
    shown = text[start:end].rstrip(".:")
    if "." not in shown and shown.count(":") < 3:
        return 0  # words of some programming languages look so too
    try:
        ipaddress.ip_address(shown)
    except ValueError:
        return 0
    return start + len(shown)


def _ssn(text: str, start: int, end: int) -> int:
    area, group, serial = text[start:end].replace(" ", "-").split("-")
    is_issued = area not in ("000", "666") and area[0] != "9" and group != "00" and serial != "0000"
    return end if is_issued else 0


def _ahv(text: str, start: int, end: int) -> int:
    digits = [int(char) for char in text[start:end] if char.isdigit()]
    total = sum(digits[0:12:2]) + 3 * sum(digits[1:12:2])
    return end if (10 - total % 10) % 10 == digits[12] else 0


def _dni(text: str, start: int, end: int) -> int:
    plain = text[start:end].replace("-", "").upper()
    number = plain[:-1].translate(str.maketrans("XYZ", "012"))
    return end if "TRWAGMYFPDXBNJZSQVHLCKE"[int(number) % 23] == plain[-1] else 0


def _nir(text: str, start: int, end: int) -> int:
    plain = text[start:end].replace(" ", "")
    number = int(plain[:13].replace("2A", "19").replace("2B", "18"))
    return end if 97 - number % 97 == int(plain[13:]) else 0


_NOT_BEFORE = r"(?<![A-Za-z0-9])"
_NOT_AFTER = r"(?![A-Za-z0-9])"
_NUMBER = DIGITS + " -"
FINDERS = (
    Email("email", r"(?:[A-Za-z0-9\-]{1,63}\.){1,8}[A-Za-z]{2,24}", WORD + "._%+-@", 602),
    Finder("iban", _NOT_BEFORE + r"[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}", UPPER + DIGITS + " ", 66, _iban),
    Finder("iban", _NOT_BEFORE + r"[A-Za-z]{2}\d{2}[A-Za-z0-9]{11,30}", WORD, 36, _iban),
    Finder("card", r"(?<!\d)\d(?:[ \-]?\d){12,18}", _NUMBER, 40, _card),
    Finder("us_ssn", r"(?<!\d)\d{3}([ \-])\d{2}\1\d{4}(?!\d)", _NUMBER, 11, _ssn),
    Finder("ch_ahv", r"(?<!\d)756[. ]?\d{4}[. ]?\d{4}[. ]?\d{2}(?!\d)", DIGITS + ". ", 16, _ahv),
    Finder("es_dni", _NOT_BEFORE + r"(?:\d|[XYZxyz])\d{7}-?[A-Za-z]" + _NOT_AFTER, WORD + "-", 10, _dni),
    Finder("fr_nir", r"(?<!\d)[12] ?\d{2} ?\d{2} ?(?:\d{2}|2[AB]) ?\d{3} ?\d{3} ?\d{2}(?!\d)",
           DIGITS + "AB ", 22, _nir),
    Finder("uk_nino", _NOT_BEFORE + r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D]" + _NOT_AFTER,
           WORD + " ", 14),
    Finder("phone",
           r"(?<![\w+.\-])(?:\+|00)[1-9]\d{0,2}(?:[ .\-/]?\(0\))?(?:[ .\-/]?\(?\d\)?){5,13}[ .\-/]?\(?\d(?!\d)",
           DIGITS + " .-/()+", 70, _phone),
    Finder("phone", r"(?<![\w+.\-])(?:\(\d{3}\) ?|\d{3}[ .\-])\d{3}[ .\-]\d{4}(?!\d)", DIGITS + " .-()", 15),
    Finder("ip", r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?!\d|\.\d)", DIGITS + ".", 16, _address),
    Finder("ip", r"(?<![A-Za-z0-9:.])[0-9A-Fa-f:.]{4,45}(?![A-Za-z0-9:])", WORD + ":.", 46, _address),
)  # fmt: skip
KINDS = tuple(dict.fromkeys(finder.kind for finder in FINDERS))
PRESIDIO = {
    "EMAIL_ADDRESS": "email", "CREDIT_CARD": "card", "IBAN_CODE": "iban", "PHONE_NUMBER": "phone", "IP_ADDRESS": "ip",
    "US_SSN": "us_ssn", "ES_NIF": "es_dni", "UK_NINO": "uk_nino",
}  # fmt: skip
"""LiteLLM's words, which are Presidio's, for what is found here."""
_PLACEHOLDER = Finder("placeholder", r"<[A-Z_]{2,12}_[0-9]{1,4}>", UPPER + DIGITS + "<>_", 19)


class Personal(Finding):
    """`pii`: `entities: {email: MASK, card: BLOCK}` (default: all masked); `restore: true` puts back into the answer
    what was masked in its own request."""

    def __init__(self, name: str, params: Mapping[str, Any]) -> None:
        refuse_others(params, "entities", "action", "restore")
        action = take(params, "action", str, "MASK").upper()
        entities = take(params, "entities", (dict, list), dict.fromkeys(KINDS, action))
        if isinstance(entities, list):
            entities = dict.fromkeys(entities, action)
        actions = {}
        for word, given in entities.items():
            kind = PRESIDIO.get(word, word)
            if kind not in KINDS:
                raise ValueError(f'entities: "{word}" is not found here; found are {", ".join(KINDS)}')
            actions[kind] = str(given).upper()
        if not set(actions.values()) <= set(ACTIONS):
            raise ValueError("entities: each is to be MASK or BLOCK")
        super().__init__(name, FINDERS, actions)
        self.restores = take(params, "restore", bool, False)

    def _mask(self, seen: Seen, finder: Finder, found: str) -> str:
        if not self.restores or seen.is_answer:
            return f"<{finder.kind.upper()}>"
        held: dict[str, str] = seen.kept.setdefault(self.name, {})
        number = 1
        while held.setdefault(f"<{finder.kind.upper()}_{number}>", found) != found:
            number += 1
        return f"<{finder.kind.upper()}_{number}>"

    def restores_in(self, seen: Seen) -> bool:
        """Whether something was masked in the request that its answer may name again."""
        return bool(seen.kept.get(self.name))

    def restorer(self, seen: Seen) -> Window:
        """Puts back, in one text of the answer."""
        held: dict[str, str] = seen.kept.get(self.name, {})
        return Scanner((_PLACEHOLDER,), lambda finder, found: held.get(found, found))

    def restored(self, seen: Seen, text: str) -> str:
        held: dict[str, str] = seen.kept.get(self.name, {})
        return replaced((_PLACEHOLDER,), text, lambda finder, found: held.get(found, found))
