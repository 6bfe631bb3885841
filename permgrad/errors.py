"""The one error type that users see for bad input."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted


class PermGradError(ValueError):
    """Input that permgrad cannot use; the message says what was expected, what came and what to do."""


class UnfittedError(PermGradError, NotFittedError):
    """An estimator used before it was fitted."""


class FileFormatError(PermGradError):
    """A file that permgrad did not write, or that is damaged."""


@contextmanager
def as_permgrad_error() -> Iterator[None]:
    """Re-raise a library's ``ValueError`` about the user's input as a `PermGradError`, message kept."""
    try:
        yield
    except PermGradError:
        raise
    except ValueError as error:
        raise PermGradError(str(error)) from error


def check_fitted(estimator: Any) -> None:
    """Raise `UnfittedError` unless an estimator is fitted."""
    try:
        check_is_fitted(estimator)
    except NotFittedError as error:
        raise UnfittedError(str(error)) from error


def listing(names: Iterable[Any], limit: int = 5) -> str:
    """Return ``'a', 'b' and 3 more``: names for an error message, cut after `limit`."""
    names = [repr(name) if isinstance(name, str) else str(name) for name in names]
    shown = ", ".join(names[:limit])
    return f"{shown} and {len(names) - limit} more" if len(names) > limit else shown
