"""Addresses of storages, as messages may show them: a password is nobody's to read."""

import re
from urllib.parse import unquote

HIDDEN = "***"
SHORT = 3
"""Letters of a password that is hidden in its place only: elsewhere it would be found in every other word."""
SECRETS = "password|passwd|pwd|sslpassword|secret|token"
_IN_USER = re.compile(r"(?<=://)([^:/?#@\s]*):(\S*)@")
_IN_SETTING = re.compile(rf"\b({SECRETS})(=|%3[dD])[^&\s'\";,)]+", re.IGNORECASE)


def without_passwords(text: str, address: str = "") -> str:
    """Return a text with the passwords of all addresses in it hidden, and with those of one address wherever they stand.

    A rule on texts, not a parser of addresses: what does not parse may hold a password as well, and a library's error quotes
    the address, or parts of it, as it likes.

    Args:
        text: A message.
        address: The storage's address, whose passwords are looked for everywhere.
    """
    found = [match[2] for match in _IN_USER.finditer(address)]
    found += [match[0].partition(match[2])[2] for match in _IN_SETTING.finditer(address)]
    shown = _IN_SETTING.sub(rf"\1\2{HIDDEN}", _IN_USER.sub(rf"\1:{HIDDEN}@", text))
    for secret in sorted({*found, *map(unquote, found)}, key=len, reverse=True):
        if len(secret) > SHORT:
            shown = shown.replace(secret, HIDDEN)
    return shown
