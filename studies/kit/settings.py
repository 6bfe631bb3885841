"""Settings from a YAML file and the command line, checked against a pydantic model."""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from permgrad.errors import PermGradError, listing, reading

Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]


class Settings(BaseModel):
    """Base of settings: unknown keys, and values of another type, are errors; nothing changes once it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


S = TypeVar("S", bound=Settings)


def read_settings(kind: type[S], path: str | Path, overrides: Iterable[str] = ()) -> S:
    """Read settings from a YAML file, change some, and check them all.

    Parameters
    ----------
    kind : type
        A `Settings` class.
    path : path
        The YAML file.
    overrides : iterable of str
        "<dotted key>=<value>" each, such as "network.dropout=0.3"; the value is YAML. Later ones win.

    Returns
    -------
    An instance of `kind`.

    Raises
    ------
    PermGradError
        In one line that names the dotted key: for an unknown key, a missing one, a value of the wrong type or out of
        range; for a file that is absent or no YAML, a key given twice, and an override without "=".
    """
    with reading(path, "a text file of settings"):
        text = Path(path).read_text(encoding="utf-8")
    content = _parse(text, str(path))
    if not isinstance(content, dict):
        raise PermGradError(f"{path} must hold keys and values, found {type(content).__name__}")
    for override in overrides:
        _override(content, override)
    try:
        return kind.model_validate_json(json.dumps(content, default=str))
    except ValidationError as error:
        raise PermGradError(_one_line(error, str(path))) from error


def _override(content: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    *parents, last = key.strip().split(".")
    if not equals or not all([*parents, last]):
        raise PermGradError(f"expected <dotted key>=<value>, such as network.dropout=0.3, got {override!r}")
    place: Any = content
    for i, name in enumerate(parents):
        place = place.setdefault(name, {})
        if not isinstance(place, dict):
            raise PermGradError(f"{key}: {'.'.join(parents[: i + 1])} is a value and has no keys of its own")
    place[last] = _parse(value, key)


def _one_line(error: ValidationError, path: str) -> str:
    problems = error.errors(include_url=False)
    first = problems[0]
    key = ".".join(str(part) for part in first["loc"] if not str(part).startswith("function-")) or "settings"
    if first["type"] == "extra_forbidden":
        message = "unknown key"
    elif first["type"] == "missing":
        message = "missing; it must be given"
    else:
        message = first["msg"].removeprefix("Value error, ")
        got = "" if isinstance(first["input"], dict) else f", got {listing([first['input']])}"  # all of it: too long
        message = f"{message[0].lower()}{message[1:]}{got}"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{path}: {key}: {message}{more}"


def _parse(text: str, where: str) -> Any:
    try:
        value = yaml.load(text, Loader=_Loader)  # noqa: S506 - built on the safe one
        json.dumps(value, default=str)  # neither keys that are no text nor a list that holds itself
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        at = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise PermGradError(f"{where}: no valid YAML: {error.problem}{at}") from error
    except Exception as error:  # such as a date that there is not
        raise PermGradError(f"{where}: no valid YAML of plain values") from error
    return value


class _Loader(yaml.SafeLoader):
    """YAML of plain values, as people write it: 1e-3 is a number, and a key given twice is an error."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=deep) for key, _ in node.value]
        twice = [key for key in keys if keys.count(key) > 1]
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"key {twice[0]!r} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


# PyYAML follows YAML 1.1, where a number in scientific notation needs a dot.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)
