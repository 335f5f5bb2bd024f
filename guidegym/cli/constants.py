"""The package's constants for help texts, read from the source because importing their modules would import torch."""

import ast
import functools
from pathlib import Path
from typing import Any

from guidegym.registry import KINDS

PACKAGE = Path(__file__).parent.parent


@functools.cache
def names(module: str, constant: str) -> str:
    """Return the names in a constant of a module, joined by commas: the keys of a dictionary or the items of a tuple."""
    return ", ".join(_items(_value(module, constant)))


@functools.cache
def number(module: str, constant: str) -> Any:
    """Return a numeric constant of a module."""
    return ast.literal_eval(_value(module, constant))


@functools.cache
def parts(kind: str) -> str:
    """Return the names of the shipped parts of a kind, sorted and joined by commas."""
    home = PACKAGE.joinpath(*KINDS[kind].home.split(".")[1:])
    calls = (node for path in home.glob("*.py") for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    return ", ".join(sorted(filter(None, (_registered(node, kind) for node in calls))))


def _registered(node: ast.AST, kind: str) -> str:
    """Return the name that ``register(kind, name)`` gives a part; empty for anything else."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id != "register":
        return ""
    given = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
    return str(given[1]) if len(given) == 2 and given[0] == kind else ""


def _value(module: str, constant: str) -> ast.expr:
    """Return the expression that a module assigns to a name."""
    path = PACKAGE.joinpath(*module.split(".")[1:])
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        value = getattr(node, "value", None)
        if value is not None and any(isinstance(one, ast.Name) and one.id == constant for one in targets):
            assert isinstance(value, ast.expr)
            return value
    raise AssertionError(f"{module} has no {constant}")


def _items(value: ast.expr) -> list[str]:
    if isinstance(value, ast.Call):  # a read-only view of a dictionary
        return _items(value.args[0])
    if isinstance(value, ast.Starred):
        return _items(value.value)
    if isinstance(value, ast.Dict | ast.Tuple):
        parts = value.keys if isinstance(value, ast.Dict) else value.elts
        return [name for part in parts if part is not None for name in _items(part)]
    return [str(ast.literal_eval(value))]
