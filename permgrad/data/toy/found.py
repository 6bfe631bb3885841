"""How much of what is planted a ranking found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from permgrad.errors import PermGradError, listing

if TYPE_CHECKING:
    from permgrad.importance.ranking import FeatureRanking


def recall(ranking: FeatureRanking | Sequence[str], relevant: Sequence[str], k: int | None = None) -> float:
    """Return the share of the relevant features that are among the `k` best.

    Parameters
    ----------
    ranking : FeatureRanking or sequence of str
        Column names, best first.
    relevant : sequence of str
        Such as ``table.notes["relevant"]``.
    k : int, optional
        By default the number of relevant features ("best-k"; twice as many is "best-2k").

    Returns
    -------
    float
        Relevant features found over all relevant features, between 0 and 1.

    Raises
    ------
    PermGradError
        If a name occurs twice or is text instead of a list, nothing is relevant, or `k` is not positive.

    Examples
    --------
    >>> pg.toy.recall(["age", "dose", "noise"], relevant=["age", "sex"])
    0.5
    >>> pg.toy.recall(["age", "dose", "sex"], relevant=["age", "sex"], k=3)
    1.0
    """
    whole = not isinstance(ranking, Sequence)  # a FeatureRanking, of all columns
    names = ranking if isinstance(ranking, Sequence) else [ranking.features[i] for i in ranking.order]
    for what, given in (("ranking", names), ("relevant", relevant)):
        if isinstance(given, str) or len(set(given)) != len(given) or not len(given):
            raise PermGradError(f"{what} must be distinct column names, at least one, got {listing([given])}")
    if whole and not set(relevant) <= set(names):
        raise PermGradError(f"not in the ranking: {listing(sorted(set(relevant) - set(names)))}")
    k = len(relevant) if k is None else k
    if k < 1:
        raise PermGradError(f"k must be at least 1, got {k}")
    return len(set(names[:k]) & set(relevant)) / len(relevant)
