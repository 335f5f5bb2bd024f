"""The rules that all flags share, and the messages for a command line that cannot be parsed."""

import re
from collections.abc import Sequence
from typing import get_args

from cyclopts import App, ArgumentCollection, CycloptsError, UnknownOptionError
from cyclopts.exceptions import MissingArgumentError, UnusedCliTokensError

from guidegym.errors import GuideGymError, one_line
from guidegym.support.settings import shown


def check_values(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Check the values given for flags before they are converted.

    No flag takes an empty value, and numbers must parse as Python numbers: the parser would round 5.7 to 6.

    Raises:
        GuideGymError: If a value is empty, or not a number where one is required.
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
                    # Passwords are hidden before the text is shortened: a truncated one would not be recognised.
                    told = shown(without_passwords(token.value, [token.value]))
                    raise GuideGymError(f"must be {said}, got {told}", argument=flag)


def _reads(kind: type[int] | type[float], text: str) -> bool:
    try:
        kind(text)
    except ValueError:
        return False
    return True


def usage_error(error: CycloptsError) -> str:
    """Return what is wrong with a command line, reworded where the parser's message is meant for programmers."""
    if isinstance(error, MissingArgumentError) and error.argument is not None:
        return f"{error.keyword or error.argument.name} needs a value"
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        return f"{error.unused_tokens[0]!r} is not a flag, and no other arguments are accepted here"
    if isinstance(error, UnknownOptionError):
        near = str(error).partition("Did you mean ")[2].rstrip("?")
        return f"unknown flag {error.token.keyword or error.token.value}{near and f', did you mean {near}'}"
    said = str(error).rstrip(".")
    return said[:1].lower() + said[1:]


def without_passwords(message: str, words: Sequence[str]) -> str:
    """Return a message about a command line on one line, with the passwords in its addresses hidden."""
    # An unknown flag is echoed with its value; the value of a known one may follow an equals sign.
    values = [part for word in words for part in (word.partition("=")[2], word) if re.search("://|@", part)]
    if not values:
        return one_line(message)
    # Imported here: parsing addresses needs SQLAlchemy.
    from guidegym.search.address import without_passwords as hidden

    return one_line(hidden(message, values))
