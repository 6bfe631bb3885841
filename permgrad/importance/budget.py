"""What an explainer may take: memory, time, and a file that keeps what has been measured."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from numbers import Integral
from pathlib import Path

import numpy as np

from permgrad.errors import PermGradError, listing

MAX_REPEATS = 100_000
SOON = 1e-9
"""Seconds that are left where none are."""


def check_repeats(n_repeats: int) -> None:
    """Raise unless so many permutations of a column can be meant."""
    if not isinstance(n_repeats, Integral) or not 1 <= n_repeats <= MAX_REPEATS:
        raise PermGradError(
            f"n_repeats must be between 1 and {MAX_REPEATS:,}, a whole number, got {listing([n_repeats])}"
        )


def check_random_state(random_state: int) -> None:
    """Raise unless it is a seed, so that the same call gives the same result."""
    if not isinstance(random_state, Integral) or random_state < 0:
        raise PermGradError(f"random_state must be a whole number, 0 or more, got {listing([random_state])}")


@dataclass(frozen=True)
class Budget:
    """Limits on memory, time and error of one explanation.

    Attributes
    ----------
    max_memory : int, optional
        Bytes to use in addition to the model and the table; by default a quarter of the free memory.
    timeout : float, optional
        Seconds after which nothing further is started. Of permutations, features left out are in the ranking's
        ``pending``. A game's walks end with the block of rows that they are at, and rank all features, by the rows that
        they came to: ``settings["finished"]`` is false, and a warning says so.
    checkpoint : path, optional
        A file that stores what has been measured, every 15 seconds and at the end. The same call with an existing file
        resumes from it. Steps after the first have their own files beside it.
    tolerance : float
        Largest sampling error of a score (95 %), from the orders and donors that were drawn, as a share of the loss
        that the network saves over its mean prediction. Walks continue until every score meets it, or until the error
        is a sixth of the uncertainty from the test rows. Intervals include both. From 0.1 on, there is one round of
        walks, whose error is unknown.
    part : (int, int), optional
        ``(3, 10)``: permute only every tenth feature, from the third on; the others are ``pending``.
        `permgrad.importance.parts.join` joins the checkpoints of all parts.

    Raises
    ------
    PermGradError
        If a limit is out of range.

    Examples
    --------
    >>> pg.Budget(timeout=60, tolerance=0.05).tolerance
    0.05
    """

    max_memory: int | None = None
    timeout: float | None = None
    checkpoint: str | Path | None = None
    tolerance: float = 0.01
    part: tuple[int, int] | None = None
    deadline: float | None = field(default=None, repr=False, compare=False)
    """By `time.monotonic`; set by `begin`."""

    def __post_init__(self) -> None:
        if self.max_memory is not None and self.max_memory < 1:
            raise PermGradError(f"max_memory must be a positive number of bytes, got {self.max_memory}")
        if self.timeout is not None and not self.timeout > 0:
            raise PermGradError(f"timeout must be a number of seconds above 0, got {self.timeout}")
        if not 0 < self.tolerance < 1:
            raise PermGradError(f"tolerance must be a share of the total, between 0 and 1, got {self.tolerance}")
        if self.part is not None and not 1 <= self.part[0] <= self.part[1]:
            raise PermGradError(f"part must be a number and of how many, such as (3, 10), got {self.part}")

    def begin(self) -> Budget:
        """Return this budget with its clock started; a clock that is already running continues.

        Examples
        --------
        >>> budget = pg.Budget(timeout=60).begin()
        >>> budget.deadline is not None, budget.is_spent
        (True, False)
        """
        if self.timeout is None or self.deadline is not None:
            return self
        return replace(self, deadline=time.monotonic() + self.timeout)

    def unbegun(self) -> Budget:
        """Return a budget with the remaining time and a stopped clock, for a process that starts it again.

        Examples
        --------
        >>> pg.Budget(timeout=60).begin().unbegun().deadline is None
        True
        """
        if self.deadline is None:
            return self
        return replace(self, timeout=max(SOON, self.deadline - time.monotonic()), deadline=None)

    def step(self, name: str = "", share: float = 1.0) -> Budget:
        """Return the budget of one step of the work.

        Parameters
        ----------
        name : str
            The step's checkpoint is ``<stem>-<name><suffix>`` beside this one's; without a name it is this one's.
        share : float
            Share of the remaining time; all of it by default.

        Examples
        --------
        >>> pg.Budget(checkpoint="work.npz").step("groups").checkpoint.name
        'work-groups.npz'
        """
        begun, checkpoint = self.begin(), self.checkpoint
        if checkpoint is not None and name:
            path = Path(checkpoint)
            checkpoint = path.with_name(f"{path.stem}-{name}{path.suffix}")
        deadline = begun.deadline
        if deadline is not None:
            deadline -= (1 - share) * max(0.0, deadline - time.monotonic())
        return replace(begun, checkpoint=checkpoint, deadline=deadline)

    def mine(self, n_features: int) -> np.ndarray:
        """Return which features are in this part, (n_features,), bool.

        Examples
        --------
        >>> pg.Budget(part=(2, 3)).mine(7).nonzero()[0].tolist()
        [1, 4]
        """
        if self.part is None:
            return np.ones(n_features, bool)
        number, of = self.part
        return np.arange(n_features) % of == number - 1

    def check_parts(self, what: str) -> None:
        """Raise if a part is requested of work that cannot be divided.

        Examples
        --------
        >>> try:
        ...     pg.Budget(part=(1, 2)).check_parts("the game")
        ... except pg.PermGradError:
        ...     print("refused")
        refused
        """
        if self.part is not None:
            raise PermGradError(
                f"{what} is one thing, and has no parts; ask for what features are worth as the last to be seen"
                " (formula='last in', --formula last-in)"
            )

    @property
    def is_spent(self) -> bool:
        """Whether the time is over."""
        return self.deadline is not None and time.monotonic() >= self.deadline
