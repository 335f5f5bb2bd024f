"""Addresses of storages, as messages may show them: a password is nobody's to read."""

import re
from collections.abc import Iterable
from urllib.parse import unquote_plus

HIDDEN = "***"
SHORT = 3
"""Letters of a password that is hidden in its place only: elsewhere it would be found in every other word."""
UNREADABLE = "it is no address that can be read; in a password, letters such as @ and / are percent-encoded"


def _parts(address: str) -> tuple[str, list[str]] | None:
    """Return an address without its passwords, and what was taken out; None where nobody can tell what is one.

    Any setting behind the question mark may be a secret, whatever it is called.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(address)
    except (ArgumentError, ValueError):
        return None
    known_by = (url.username, url.password, url.host)
    if any(known_by) and any("@" in (part or "") for part in (url.host, url.database)):
        return None  # the password had an @ of its own, and its end stands in another part
    given = [url.password, *(value for values in url.normalized_query.values() for value in values)]
    raw = [part.partition("=")[2] for part in address.partition("?")[2].split("&")]
    between = re.search(r"://[^:/]*:([^@]*)@", address)
    raw += [between[1]] if between and url.password else []
    shown = url.set(query=dict.fromkeys(url.query, HIDDEN)).render_as_string(hide_password=True)
    secrets = [str(secret) for secret in (*given, *raw) if secret]
    return (shown.replace("%2A%2A%2A", HIDDEN) if secrets else address), secrets


def shown_address(address: str) -> str:
    """Return an address as messages show it: without its password, and without the values of its settings.

    A rule on all texts, good addresses or not: of one that does not parse, or whose password has an ``@`` that is not
    percent-encoded, the scheme alone is shown, unless it has none of the letters that a password stands between.
    """
    if (parts := _parts(address)) is not None:
        return parts[0]
    if not re.search(r"[@=?]|:.*:", address):
        return address
    scheme = address.partition("://")[0]
    return f"{scheme}://{HIDDEN}" if re.fullmatch(r"[\w.+-]+", scheme) else HIDDEN


def without_passwords(text: str, addresses: Iterable[str]) -> str:
    """Return a message with the addresses in it as they may be shown, and their passwords hidden wherever else it has them."""
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
    """Return what is wrong with a storage, in one line: the cause of the library's own wrapper, where there is one.

    A library quotes any part of an address that it cannot read, as part of what it takes for a port: then nothing is quoted.
    """
    if _parts(address) is None and shown_address(address) != address:
        return UNREADABLE
    lines = str(error.__cause__ or error).strip().splitlines() or [type(error).__name__]
    return without_passwords(lines[0], [address])
