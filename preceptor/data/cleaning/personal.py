"""Personal data, masked. A number with a check digit is masked only where the digit is right, so that prices, dates
and part numbers stay; what remains is a matter of recall, which no pattern makes whole."""

import ipaddress
import re
from collections.abc import Callable

from preceptor.data.cleaning.options import PersonalOptions
from preceptor.data.cleaning.verdict import Change

EMAIL = re.compile(r"(?<![\w.+%-])[\w.+%-]{1,64}@(?:[\w-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![\w-])", re.ASCII)
IP = re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])")
IDENTITY = re.compile(r"(?<!\d)[1-9]\d{16}[\dXx](?!\d)")
CARD = re.compile(r"(?<![\d-])(?:\d{4}[ -]){3}\d{1,7}(?![\d-])|(?<!\d)\d{16,19}(?!\d)")
PHONE = re.compile(
    r"(?<![A-Za-z0-9_-])(?:\+\d{1,3}[ .-]?\(?\d{1,4}\)?(?:[ .-]?\d{2,4}){2,4}"      # +44 20 7946 0958
    r"|\(\d{3}\) ?\d{3}[ .-]\d{4}|(?:1[ .-])?[2-9]\d{2}[.-]\d{3}[.-]\d{4}"  # (212) 555-0100, 212-555-0100
    r"|(?:\+?86[ -]?)?1[3-9]\d(?:[ -]?\d{4}){2}"                            # 138 0013 8000
    r"|0\d{2,3}-\d{7,8})(?![A-Za-z0-9_-])")                                         # 010-62770334


def masked(text: str, options: PersonalOptions) -> tuple[str, list[Change]]:
    """The text with marks such as `<email>` in the place of personal data; the change shows no part of it."""
    changes = []
    for kind, (pattern, holds) in KINDS.items():
        if kind not in options.kinds:
            continue
        count = 0

        def mark(found: re.Match[str], kind: str = kind, holds: Callable[[str], bool] = holds) -> str:
            nonlocal count
            if not holds(found[0]):
                return found[0]
            count += 1
            return f"<{kind}>"

        text = pattern.sub(mark, text)
        if count:
            changes.append(Change(f"personal: {kind}", count, after=f"<{kind}>"))
    return text, changes


def is_public_ip(text: str) -> bool:
    """Whether it is an IPv4 address that stands for a machine of somebody; 127.0.0.1 and 10.0.0.1 are nobody's."""
    try:
        return ipaddress.ip_address(text).is_global
    except ValueError:
        return False


def is_identity(text: str) -> bool:
    """Whether 18 characters are a Chinese identity number: a birth date and the check digit of GB 11643."""
    if not ("1900" <= text[6:10] <= "2030" and "01" <= text[10:12] <= "12" and "01" <= text[12:14] <= "31"):
        return False
    total = sum(int(digit) * pow(2, 17 - place, 11) for place, digit in enumerate(text[:17]))
    return "10X98765432"[total % 11] == text[17].upper()


def is_card(text: str) -> bool:
    """Whether 13 to 19 digits pass the Luhn check and begin as bank cards do."""
    digits = [int(character) for character in text if character.isdigit()]
    if not 13 <= len(digits) <= 19 or digits[0] not in (3, 4, 5, 6):
        return False
    doubled = [digit if place % 2 == 0 else digit * 2 - 9 * (digit > 4) for place, digit in enumerate(reversed(digits))]
    return sum(doubled) % 10 == 0


def always(text: str) -> bool:
    """For kinds whose form says enough."""
    return True


KINDS: dict[str, tuple[re.Pattern[str], Callable[[str], bool]]] = {
    "email": (EMAIL, always), "identity": (IDENTITY, is_identity), "card": (CARD, is_card), "phone": (PHONE, always),
    "ip": (IP, is_public_ip)}
