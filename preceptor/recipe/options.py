"""Options from YAML into frozen dataclasses, strictly: an unknown name or a wrong type is an error, never silence."""

import ast
import inspect
import types
from dataclasses import MISSING, Field, asdict, fields
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from preceptor.run.errors import UserError, nearest


def build_options(kind: type, values: dict[str, Any], where: str, variant: str = "") -> Any:
    """Make the dataclass `kind` from a mapping; `where` names the step in errors, and `variant` why it is this kind.

    Raises:
        UserError: an option is unknown, has the wrong type, or lacks a value and has no default.
    """
    hints = get_type_hints(kind)
    names = [f.name for f in fields(kind)]
    for name in values:
        if name not in names:
            raise UserError(f"Step '{where}'{variant} has no option '{name}'.", nearest(name, names))
    for f in fields(kind):
        if f.default is MISSING and f.default_factory is MISSING and f.name not in values:
            raise UserError(f"Step '{where}' needs a value for its option '{f.name}'.",
                            f"Give one with --set {where}.{f.name}=... or in the recipe.")
    return kind(**{name: _convert(value, hints[name], f"{where}.{name}") for name, value in values.items()})


def _convert(value: Any, hint: Any, where: str) -> Any:
    """`value` as the type that `hint` asks for; YAML reads 1e-3 as text and 1 as an integer, both are good floats."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        if value in arguments:
            return value
        raise UserError(f"'{where}' cannot be '{value}'.", nearest(str(value), map(str, arguments)))
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _convert(value, next(kind for kind in arguments if kind is not type(None)), where)
    if origin is tuple and isinstance(value, (list, tuple)):
        return tuple(_convert(item, arguments[0], where) for item in value)
    if origin is dict and isinstance(value, dict):
        return {str(key): _convert(item, arguments[1], where) for key, item in value.items()}
    if hint is float and isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            return float(value)
        except ValueError:
            pass
    elif hint in (int, bool, str) and type(value) is hint:
        return value
    raise UserError(f"'{where}' must be {_wanted(hint)}, not '{value}'.", "Mend the value.")


def _wanted(hint: Any) -> str:
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    return names.get(hint) or {tuple: "a list", dict: "a mapping"}.get(get_origin(hint), str(hint))


@cache
def describe_options(kind: type) -> dict[str, tuple[Any, str]]:
    """`{option: (default, meaning)}`; the meaning is the docstring under the field, in this class or a parent."""
    meanings: dict[str, str] = {}
    for owner in reversed(kind.__mro__[:-1]):
        body = ast.parse(inspect.cleandoc(inspect.getsource(owner))).body[0].body
        for statement, following in zip(body, body[1:]):
            if isinstance(statement, ast.AnnAssign) and isinstance(following, ast.Expr):
                meanings[statement.target.id] = " ".join(ast.literal_eval(following.value).split())
    return {f.name: (_default(f), meanings.get(f.name, "")) for f in fields(kind)}


def _default(option: Field[Any]) -> Any:
    if option.default is not MISSING:
        return option.default
    return option.default_factory() if option.default_factory is not MISSING else "required"


def plain(options: Any) -> dict[str, Any]:
    """Options as a JSON- and YAML-like mapping, every default filled in."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(options).items()}
