"""The rules that all flags share, and the words for a command line that cannot be read."""

import re
from collections.abc import Sequence
from typing import get_args

from cyclopts import App, ArgumentCollection, CycloptsError, UnknownOptionError
from cyclopts.exceptions import MissingArgumentError, UnusedCliTokensError

from guidegym.errors import GuideGymError, one_line
from guidegym.support.settings import shown


def check_values(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Check the texts that were given for flags, before they are converted.

    No flag takes an empty text, and a number is what Python reads as one: the parser would round 5.7 to 6.

    Raises:
        GuideGymError: If one is empty, or no number where there must be one.
    """
    for argument in arguments:
        kinds = {
            argument.hint,
            *(kind for hint in (argument.hint, *get_args(argument.hint)) for kind in get_args(hint)),
        }
        kinds |= set(get_args(argument.hint))
        if bool in kinds:
            continue
        for token in argument.tokens:
            flag = token.keyword or argument.name
            if not token.value.strip():
                raise GuideGymError("must not be empty", argument=flag)
            for kind, said in ((int, "a whole number"), (float, "a number")):
                if kind in kinds and not _reads(kind, token.value):
                    # Hidden before it is shortened: half a password would not be found.
                    told = shown(without_passwords(token.value, [token.value]))
                    raise GuideGymError(f"must be {said}, got {told}", argument=flag)


def _reads(kind: type[int] | type[float], text: str) -> bool:
    try:
        kind(text)
    except ValueError:
        return False
    return True


def usage_error(error: CycloptsError) -> str:
    """Return what is wrong with a command line, in our words where the parser's are for programmers."""
    if isinstance(error, MissingArgumentError) and error.argument is not None:
        return f"{error.keyword or error.argument.name} needs a value"
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        return f"{error.unused_tokens[0]!r} is no flag, and there is nothing else to give here"
    if isinstance(error, UnknownOptionError):
        near = str(error).partition("Did you mean ")[2].rstrip("?")
        return f"unknown flag {error.token.keyword or error.token.value}{near and f', did you mean {near}'}"
    said = str(error).rstrip(".")
    return said[:1].lower() + said[1:]


def without_passwords(message: str, words: Sequence[str]) -> str:
    """Return a message about the words of a command line in one line, without the passwords of addresses among them."""
    # An unknown flag is echoed with its value, and a known one's may stand behind an equals sign.
    values = [part for word in words for part in (word.partition("=")[2], word) if re.search("://|@", part)]
    if not values:
        return one_line(message)
    # Imported here: reading addresses needs SQLAlchemy.
    from guidegym.search.address import without_passwords as hidden

    return one_line(hidden(message, values))
