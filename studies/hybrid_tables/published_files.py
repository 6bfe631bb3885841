"""The scores that PermGrad's authors publish, read from their files without unpickling them.

    python -m studies.hybrid_tables.published_files DIRECTORY [--write]

`DIRECTORY` is a copy of https://github.com/felescgon/PermGrad. It holds ``datasets/*/*_metrics.npy``: NumPy files of
one Python object each, which NumPy itself reads by running a pickle, that is, a program. Here its instructions are read
as text (`pickletools.genops`): strings, numbers and the bytes of a float make up dictionaries, and nothing is called.
``--write`` puts them into ``published_scores.json``, beside this file, which `studies.hybrid_tables.published_scores`
reads.
"""

from __future__ import annotations

import argparse
import json
import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from permgrad.errors import FileFormatError, PermGradError, reading
from permgrad.files import write_text

SCORES = Path(__file__).with_name("published_scores.json")
SOURCE = "https://github.com/felescgon/PermGrad"
NAMES = {"Puma": "puma8nh", "HELOC": "heloc", "Dengue": "dengue", "Gas": "gas_drift", "Covertype": "covertype"}
"""Directory of the authors' → data set here."""
FILES = {"mlp": "permutation", "cnn": "grad_cam", "joint": "branch_weights"}
MAGIC = b"\x93NUMPY\x01\x00"
DIGITS = 7
"""Significant ones: as many as float32 has."""


class _Named(str):
    """The name of what a pickle would import."""


class _Called(tuple):
    """What a pickle would call, and with what: (name, arguments), inert."""

    __slots__ = ()


def read_dictionary(content: bytes) -> dict[str, Any]:
    """Return the dictionary that a ``.npy`` file of one object holds, without running anything.

    Parameters
    ----------
    content : bytes
        Of the whole file.

    Returns
    -------
    dict
        Text → float, or text → such a dictionary.

    Raises
    ------
    FileFormatError
        If the file is another one, or holds anything but text, numbers and dictionaries of them.
    """
    if not content.startswith(MAGIC):
        raise FileFormatError("expected a .npy file of version 1.0, got other bytes")
    header_ends = len(MAGIC) + 2 + int.from_bytes(content[len(MAGIC) : len(MAGIC) + 2], "little")
    if b"'|O'" not in content[:header_ends]:
        raise FileFormatError("expected a .npy file of one object, got one of numbers, which NumPy reads")
    stack = _Reader().run(content[header_ends:])
    found = [each for each in stack if isinstance(each, dict)]
    if len(found) != 1:
        raise FileFormatError(f"expected one dictionary, got {len(found)}")
    return _plain(found[0])


class _Reader:
    """A stack on which a pickle's instructions put what they name; the object's parts are left on it."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memory: list[Any] = []

    def run(self, content: bytes) -> list[Any]:
        """Read all instructions; return what was put into the array."""
        for instruction, argument, _ in pickletools.genops(content):
            self._step(instruction.name, argument)
        return self.stack[-1]

    def _step(self, name: str, argument: Any) -> None:
        if name in ("SHORT_BINUNICODE", "BINUNICODE", "SHORT_BINBYTES", "BINFLOAT", "BININT", "BININT1", "BININT2"):
            self.stack.append(argument)
        elif name in CONSTANTS:
            self.stack.append(CONSTANTS[name]())
        elif name == "MARK":
            self.marks.append(len(self.stack))
        elif name == "MEMOIZE":
            self.memory.append(self.stack[-1])
        elif name in ("BINGET", "LONG_BINGET"):
            self.stack.append(self.memory[argument])
        elif name in TUPLES:
            self._put(tuple, TUPLES[name])
        elif name == "TUPLE":
            self._put(tuple, len(self.stack) - self.marks.pop())
        elif name == "STACK_GLOBAL":
            self._put(lambda both: _Named(".".join(both)), 2)
        elif name == "REDUCE":
            self._put(_Called, 2)
        elif name == "SETITEMS":
            items = self._pop(len(self.stack) - self.marks.pop())
            self.stack[-1].update(zip(items[::2], items[1::2], strict=True))
        elif name == "SETITEM":
            key, value = self._pop(2)
            self.stack[-1][key] = value
        elif name == "APPEND":
            (value,) = self._pop(1)
            self.stack[-1].append(value)
        elif name == "BUILD":
            self._build(self._pop(1)[0])
        elif name not in ("PROTO", "FRAME", "STOP"):
            raise FileFormatError(f"expected text, numbers and dictionaries, got a pickle's instruction {name}")

    def _build(self, state: Any) -> None:
        """Put the array's content in its place; a number's type keeps what it is called."""
        if isinstance(state, tuple) and isinstance(state[-1], list):
            self.stack[-1] = state[-1]

    def _pop(self, n: int) -> list[Any]:
        taken = self.stack[len(self.stack) - n :]
        del self.stack[len(self.stack) - n :]
        return taken

    def _put(self, make: Callable[[list[Any]], Any], n: int) -> None:
        self.stack.append(make(self._pop(n)))


CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def _plain(value: Any) -> Any:
    """Return text and floats; a number that a pickle would make of its bytes is made of them here."""
    if isinstance(value, dict):
        return {str(_plain(key)): _plain(each) for key, each in value.items()}
    if isinstance(value, (str, int, float)) and not isinstance(value, _Named):
        return value
    if isinstance(value, _Called) and str(value[0]).endswith("multiarray.scalar"):
        kind, content = value[1]
        code = kind[1][0]
        if code in ("f4", "f8", "i8", "i4"):
            return np.frombuffer(content, f"<{code}")[0].item()
    raise FileFormatError(f"expected text, numbers and dictionaries, got {value!r}")


def read_repository(directory: str | Path) -> dict[str, Any]:
    """Return what the authors publish of each data set.

    Parameters
    ----------
    directory : path
        A copy of their repository.

    Returns
    -------
    dict
        Data set → ``branch_weights`` (branch → weight), ``permutation`` and ``grad_cam``: feature → score, or, for
        classification, class → feature → score.
    """
    found: dict[str, Any] = {}
    for folder, name in NAMES.items():
        found[name] = {}
        for short, long in FILES.items():
            path = Path(directory) / "datasets" / folder / f"{short}_metrics.npy"
            if not path.is_file():
                raise PermGradError(f"there is no {path}; give a copy of {SOURCE}")
            with reading(path, "a file of scores"):
                found[name][long] = read_dictionary(path.read_bytes())
    return found


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return float(f"{value:.{DIGITS}g}")


def main(arguments: list[str] | None = None) -> None:
    """Read a copy of the repository; say whether its numbers are those kept here, or keep them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args(arguments)
    scores = _rounded(read_repository(given.directory))
    if given.write:
        lines = [f"{json.dumps(name)}: {json.dumps(each, ensure_ascii=False)}" for name, each in scores.items()]
        write_text(SCORES, "{\n" + ",\n".join(lines) + "\n}\n")
    same = json.loads(SCORES.read_text(encoding="utf-8")) == scores
    print(f"the numbers of {given.directory} are {'' if same else 'not '}those of {SCORES.name}")


if __name__ == "__main__":
    main()
