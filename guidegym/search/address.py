"""Storage addresses as shown in messages: passwords are hidden."""

import re
from collections.abc import Iterable
from urllib.parse import unquote_plus

HIDDEN = "***"
SHORT = 3
"""Length up to which a password is hidden only in its own place: elsewhere it would match many other words."""
UNREADABLE = "it cannot be parsed; in a password, characters such as @ and / must be percent-encoded"


def _parts(address: str) -> tuple[str, list[str]] | None:
    """Return an address without its passwords, and the passwords; None if they cannot be identified.

    Any setting after the question mark may be a secret, whatever its name.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(address)
    except (ArgumentError, ValueError):
        return None
    known_by = (url.username, url.password, url.host)
    if any(known_by) and any("@" in (part or "") for part in (url.host, url.database)):
        return None  # the password contained an @, and its end is in another part
    given = [url.password, *(value for values in url.normalized_query.values() for value in values)]
    raw = [part.partition("=")[2] for part in address.partition("?")[2].split("&")]
    between = re.search(r"://[^:/]*:([^@]*)@", address)
    raw += [between[1]] if between and url.password else []
    shown = url.set(query=dict.fromkeys(url.query, HIDDEN)).render_as_string(hide_password=True)
    secrets = [str(secret) for secret in (*given, *raw) if secret]
    return (shown.replace("%2A%2A%2A", HIDDEN) if secrets else address), secrets


def shown_address(address: str) -> str:
    """Return an address as shown in messages: without its password and the values of its settings.

    Works on any text: if the address does not parse, or its password has an ``@`` that is not percent-encoded, only the scheme
    is shown, unless the text has none of the characters that delimit a password.
    """
    if (parts := _parts(address)) is not None:
        return parts[0]
    if not re.search(r"[@=?]|:.*:", address):
        return address
    scheme = address.partition("://")[0]
    return f"{scheme}://{HIDDEN}" if re.fullmatch(r"[\w.+-]+", scheme) else HIDDEN


def without_passwords(text: str, addresses: Iterable[str]) -> str:
    """Return a message with its addresses as shown in messages, and with their passwords hidden wherever else they occur."""
    for address in addresses:
        shown = shown_address(address)
        if shown == address:
            continue
        for quoted in (address, repr(address)[1:-1]):
            text = text.replace(quoted, shown)
        found = [] if (parts := _parts(address)) is None else parts[1]
        for secret in sorted({*found, *map(unquote_plus, found)}, key=len, reverse=True):
            if len(secret) > SHORT:
                text = text.replace(secret, HIDDEN)
    return text


def reason_of(error: BaseException, address: str) -> str:
    """Return what is wrong with a storage, in one line: the cause of the library's wrapping error, if there is one.

    A library may quote an unparsable part of an address, mistaken for a port; then nothing is quoted.
    """
    if _parts(address) is None and shown_address(address) != address:
        return UNREADABLE
    lines = str(error.__cause__ or error).strip().splitlines() or [type(error).__name__]
    return without_passwords(lines[0], [address])
