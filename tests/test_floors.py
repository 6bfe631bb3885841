"""The house: packages stand on floors, and no import runs back up or round in a circle."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import permgrad as pg

PACKAGE = Path(pg.__file__).parent
FLOORS = (
    "errors",
    "backend",
    "files",
    "directories",
    "parallel",
    "data",
    "images",
    "layers",
    "metrics",
    "training",
    "models",
    "plotting",
    "importance",
    "patches",
    "estimators",
    "evaluation",
    "report",
    "tuning",
    "tracking",
    "cli",
)
"""From the ground up. Who draws, draws what it is given: `plotting` stands below what it draws."""


def modules() -> dict[str, Path]:
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(path: Path) -> Iterator[str]:
    """Yield what a file of permgrad imports of permgrad when it runs, within functions too."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    only_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if id(node) in only_types:
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "permgrad":
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else str(node.module)
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)


GRAPH = {name: set(imports(path)) - {name} for name, path in MODULES.items()}


def floor(name: str) -> int | None:
    """Return the floor of a module; None for the package itself, which knows all names."""
    parts = name.split(".")
    return FLOORS.index(parts[1]) if len(parts) > 1 and parts[1] != "__main__" else None


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Return the modules in circles: what is left when those are taken off that import none, or that none imports."""
    left = {name: set(known) & set(graph) for name, known in graph.items()}
    while True:
        known_by_some = set().union(*left.values())
        ends = {name for name, known in left.items() if not known or name not in known_by_some}
        if not ends:
            return sorted(left)
        left = {name: known - ends for name, known in left.items() if name not in ends}


def test_every_module_has_a_floor():
    assert {name.split(".")[1] for name in MODULES if name.count(".")} - {"__main__"} == set(FLOORS)


def test_the_tree_in_contributing_is_the_tree():
    text = (PACKAGE.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    drawn = re.findall(r"^  (\w+)/ ", text, re.MULTILINE)
    assert ["errors", "backend", "files", "directories", "parallel", *drawn] == list(FLOORS)
    below = [path for path in re.findall(r"`((?:\w+/)+\w+\.py)`", text) if not path.startswith(("tests/", "permgrad/"))]
    assert below
    assert [path for path in below if not (PACKAGE / path).is_file()] == []


def test_no_import_runs_up():
    up = [
        f"{name} imports {known}"
        for name, of_name in GRAPH.items()
        for known in of_name
        if None not in (floor(name), floor(known)) and floor(known) > floor(name)  # type: ignore[operator]
    ]
    assert up == []


def test_no_circle_of_imports():
    assert circle(GRAPH) == []


def test_a_circle_is_seen():
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}
    assert circle(graph) == ["b", "c"]
    assert circle({"a": {"b"}, "b": {"d"}, "d": set()}) == []
