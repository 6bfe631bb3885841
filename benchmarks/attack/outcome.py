"""How one attempt ended, and the table of all of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from permgrad.errors import PermGradError

HARMLESS = ("refused in one line", "as asked", "the same", "whole")
"""Outcomes that may be: everything else fails the attack."""


@dataclass
class Outcomes:
    """Counts of one kind of attempt by how they ended, with an example of each that may not be.

    Attributes
    ----------
    name : str
    counts : Counter
        Outcome → attempts.
    examples : dict of str
        Outcome → what showed it first.
    """

    name: str
    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, outcome: str, example: object = "") -> None:
        """Count one attempt."""
        self.counts[outcome] += 1
        if outcome not in HARMLESS:
            self.examples.setdefault(outcome, str(example))

    @property
    def failed(self) -> bool:
        """Whether an attempt ended as none may."""
        return any(outcome not in HARMLESS for outcome in self.counts)


def told(error: BaseException) -> str:
    """Say how an error reached the user: in one line of ours, in several, or as another library raised it."""
    if not isinstance(error, PermGradError):
        return "raw error"
    return "several lines" if "\n" in str(error).strip() else "refused in one line"


def show(part: Outcomes) -> None:
    """Print a row of the table, and an example of each outcome that may not be."""
    outcomes = ", ".join(f"{outcome} {count:,}" for outcome, count in sorted(part.counts.items()))
    print(f"| {part.name} | {part.counts.total():,} | {outcomes} |", flush=True)
    for outcome, example in part.examples.items():
        print(f"    {outcome}: {example[:500]}", flush=True)
