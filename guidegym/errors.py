"""The exception types of the package."""

import re

LONGEST_WORD = 200
LONGEST_LINE = 2000


def one_line(message: str) -> str:
    """Return a message as one printable line, with the middle of overlong words and lines left out.

    Messages echo user input, which may contain anything: line breaks, control characters, thousands of letters.
    """
    line = message if message.isprintable() else _visible(message)
    line = re.sub(rf"\S{{{LONGEST_WORD},}}", lambda word: f"{word[0][:80]}...{word[0][-40:]}", line)
    return line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE - 103]}...{line[-100:]}"


def _visible(message: str) -> str:
    return "".join(
        letter if letter.isprintable() else {"\n": " ", "\t": " "}.get(letter, ascii(letter)[1:-1])
        for letter in message
    )


class GuideGymError(ValueError):
    """Bad input; its message is one line that gives the value and what is allowed.

    Commands print it and end with exit code 2; functions raise it as the ``ValueError`` it is.

    Args:
        message: The line, without its beginning if ``argument`` is given.
        argument: Name of the argument that the error is about, with which the message begins; a caller that passed the value on
            under another name can replace it, see ``about``.
    """

    def __init__(self, message: str, *, argument: str | None = None) -> None:
        self.rest, self.argument = message, argument
        super().__init__(one_line(message if argument is None else f"`{argument}` {message}"))

    def about(self, argument: str) -> "GuideGymError":
        """Return the same error under the argument name of the caller."""
        return type(self)(self.rest, argument=argument)


class FileFormatError(GuideGymError):
    """A file is truncated, of another kind, of a future version, or contains a value that is not allowed."""


class DataNotFoundError(GuideGymError):
    """A data set or a weight file was not found."""
