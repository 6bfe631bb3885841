"""The one error type that users see for bad input."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted


class PermGradError(ValueError):
    """Input that permgrad cannot use; the message says what was expected, what was given and what to do.

    Examples
    --------
    >>> try:
    ...     pg.load_dataset("iriss")
    ... except pg.PermGradError as error:
    ...     print(str(error).split(";")[0])
    no data set 'iriss'
    """


class UnfittedError(PermGradError, NotFittedError):
    """An estimator used before it was fitted.

    Examples
    --------
    >>> try:
    ...     pg.HybridClassifier().predict(table.X)
    ... except pg.UnfittedError:
    ...     print("fit it first")
    fit it first
    """


class FileFormatError(PermGradError):
    """A file that permgrad did not write, or that is damaged.

    Examples
    --------
    >>> try:
    ...     pg.load("absent")
    ... except pg.FileFormatError as error:
    ...     print(str(error).split(":")[0])
    cannot read absent/estimator.json
    """


def require(extra: str, what: str, *packages: str) -> None:
    """Raise the one error of what an optional extra brings, unless its packages can be imported.

    Parameters
    ----------
    extra : str
        Of permgrad, as ``pip install 'permgrad[extra]'`` has it.
    what : str
        What needs it, at the beginning of a sentence: "tuning".
    *packages : str
        Names of modules; they are looked for, not imported.

    Raises
    ------
    PermGradError
        If one of them is missing.
    """
    absent = [name for name in packages if sys.modules.get(name) is None and find_spec(name) is None]
    if absent:
        raise PermGradError(f"{what} needs the package {', '.join(absent)}: pip install 'permgrad[{extra}]'")


@contextmanager
def as_permgrad_error() -> Iterator[None]:
    """Re-raise a library's ``ValueError`` about the user's input as a `PermGradError`, its message in one line."""
    try:
        yield
    except PermGradError:
        raise
    except ValueError as error:
        raise PermGradError(one_line(error)) from error


@contextmanager
def reading(path: str | Path, what: str, advice: str = "") -> Iterator[None]:
    """Raise a `FileFormatError` that names the file, whatever is raised while it is read.

    Everything that reads a file does it within this block: a damaged file can make a library raise anything. The
    library's own text, which may be long and is about its insides, stays as the error's cause.

    Parameters
    ----------
    path : path
    what : str
        What the file should be, with its article: "a Parquet file".
    advice : str
        What to do about a file that is damaged.

    Raises
    ------
    FileFormatError
        If anything is raised inside the block.
    """
    try:
        yield
    except FileFormatError:
        raise
    except PermGradError as error:
        raise FileFormatError(f"{path}: {error}") from error
    except OSError as error:
        if error.errno is None or error.strerror is None:  # of a library that found a file to be none of its own
            raise FileFormatError(_damaged(path, what, "", advice)) from error
        raise FileFormatError(f"cannot read {path}: {error.strerror}") from error
    except Exception as error:
        raise FileFormatError(_damaged(path, what, _reason(error), advice)) from error


def _damaged(path: str | Path, what: str, reason: str, advice: str) -> str:
    found = f" ({reason})" if reason else ""
    return f"{path} is damaged, or is not {what}{found}" + (f"; {advice}" if advice else "")


def _reason(error: Exception) -> str:
    """Say in our words what was wrong, where a library's error tells it in a way that we know."""
    text, kind = str(error), type(error).__name__
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} is not text in {error.encoding.upper()}"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, MemoryError):
        return "it asks for more memory than there is"
    if isinstance(error, EOFError):
        return "it ends too early"
    if isinstance(error, KeyError) and len(str(error)) < 80:  # pandas puts sentences into it
        return f"{listing(error.args)} is missing"
    if kind == "EmptyDataError":
        return "it is empty"
    if kind == "JSONDecodeError":
        return f"line {error.lineno}, column {error.colno}"  # type: ignore[attr-defined]
    value = re.search(r"invalid value '(.*)'", text)  # Arrow
    if value:
        return f"{value[1]!r} is no number"
    columns = re.search(r"Expected (\d+) columns, got (\d+)", text)  # Arrow
    if columns:
        return f"a line has {columns[2]} fields, {columns[1]} were expected"
    fields = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", text)  # pandas
    if fields:
        return f"line {fields[2]} has {fields[3]} fields, {fields[1]} were expected"
    return ""


def check_fitted(estimator: Any) -> None:
    """Raise `UnfittedError` unless an estimator is fitted."""
    try:
        check_is_fitted(estimator)
    except NotFittedError as error:
        raise UnfittedError(str(error)) from error


def one_line(text: object, most: int = 400) -> str:
    """Return a text in one line, cut after `most` letters."""
    line = " ".join(str(text).split())
    return line if len(line) <= most else f"{line[:most]}…"


def listing(names: Iterable[Any], limit: int = 5) -> str:
    """Return ``'a', 'b' and 3 more``: names for an error message, cut after `limit`, each of them after 200 letters."""
    names = [one_line(repr(name), 200) if isinstance(name, str) else one_line(name, 200) for name in names]
    shown = ", ".join(names[:limit])
    return f"{shown} and {len(names) - limit} more" if len(names) > limit else shown
