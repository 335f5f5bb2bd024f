"""The exception types of the package."""


class GuideGymError(ValueError):
    """Bad input: its message is one line that says what was given and what is allowed.

    Commands print it and end with exit code 2; functions raise it as the ``ValueError`` it is.
    """


class FileFormatError(GuideGymError):
    """A file is truncated, of another kind, of a future version, or holds a value that is not allowed."""


class DataNotFoundError(GuideGymError):
    """A data set or a weight file is in none of the places where it was looked for."""
