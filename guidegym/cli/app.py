"""The command ``guidegym``: its verbs, each imported when it is called.

Parsing is done by Cyclopts: a verb is a function of one frozen dataclass, whose fields are the flags; their docstrings are
the help texts.
"""

import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError, Parameter

from guidegym.cli import exits
from guidegym.cli.parsing import check_values, usage_error, without_passwords
from guidegym.errors import GuideGymError
from guidegym.support.user_code import import_parts

VERBS = {
    "tune": "search the guidance of a study, confirm the best candidates, and write them to files",
    "sample": "sample a testbed under a guidance file, and write the samples and a picture of them",
    "train-agent": "train an agent in an environment, and compare it with baselines that need no training",
    "train-models": "train the networks of a testbed with this package's own recipes",
    "evaluate": "evaluate classifiers before guiding with them, and guidance methods by their samples",
    "reproduce": "test the claims of the papers, and report whether each one holds",
    "similarity": "compute how similar the classes of a testbed are, from embeddings of their descriptions",
}
"""Every verb and its description."""


def _version() -> str:
    import guidegym

    return guidegym.__version__


def make_app() -> App:
    """Return the parser of all verbs; none of them is imported yet."""
    app = App(
        name="guidegym",
        help="The guidance of diffusion models as a tunable policy: search, learn and replay guidance schedules. "
        "With any verb, --import FILE.py or MODULE first imports parts of your own.",
        version=_version,
        # A flag has one name and no negation, and may be repeated: the last value counts; lists are concatenated.
        default_parameter=Parameter(
            negative=(), show_default=False, allow_repeating=True, json_list=False, json_dict=False
        ),
        config=check_values,
        help_format="plaintext",
        print_error=False,
        exit_on_error=False,
        result_action="return_value",
    )
    for place, (verb, says) in enumerate(VERBS.items()):
        module = verb.replace("-", "_")
        app.command(f"guidegym.cli.{module}:{module}", name=verb, help=f"{says[0].upper()}{says[1:]}.", sort_key=place)
    app.register_install_completion_command(help="Install the shell's completion of this command: bash, zsh or fish.")
    return app


def _import_parts(words: Sequence[str]) -> list[str]:
    """Import the file or module of every ``--import``, and return the other words.

    Raises:
        GuideGymError: If there is no such file or module.
    """
    left: list[str] = []
    given = iter(words)
    for word in given:
        flag, equals, value = word.partition("=")
        if flag == "--import":
            import_parts(value if equals else next(given, ""))
        else:
            left.append(word)
    return left


def _dispatch(words: Sequence[str]) -> int:
    """Parse a command line and run its verb."""
    words = _import_parts(words)
    try:
        command, bound, _ = make_app().parse_args(list(words))
    except CycloptsError as error:
        raise GuideGymError(f"{without_passwords(usage_error(error), words)}; see --help") from None
    except GuideGymError as error:
        raise GuideGymError(without_passwords(str(error), words)) from error
    return int(command(*bound.args, **bound.kwargs) or 0)


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``guidegym`` and return its exit code.

    Args:
        argv: A verb and its flags; None for those in ``sys.argv``.
    """
    return exits.run(lambda: _dispatch(sys.argv[1:] if argv is None else argv))


def run_verb(verb: str, argv: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code.

    Args:
        verb: One of ``VERBS``.
        argv: Its flags; None for those in ``sys.argv``.
    """
    return main([verb, *(sys.argv[1:] if argv is None else argv)])
