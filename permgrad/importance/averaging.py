"""Rankings of several networks as one: the mean of their scores, and how far rows and networks may move it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from permgrad.errors import PermGradError
from permgrad.importance.bootstrap import interval
from permgrad.importance.learned import average
from permgrad.importance.ranking import FeatureRanking


def average_rankings(rankings: Sequence[FeatureRanking], random_state: int) -> FeatureRanking:
    """Average the rankings of several networks on the same rows.

    Parameters
    ----------
    rankings : sequence of FeatureRanking
        Of the same features, classes, method and loss; with the same bootstrap of rows.
    random_state : int
        Of the bootstrap of networks.

    Returns
    -------
    FeatureRanking
        ``scores``, ``class_scores``, ``branch_weights``: means over networks; ``std`` over networks (ddof 1), None for
        one. Intervals are over rows and networks: each replicate of the rows draws, of n networks, n - 1 anew, whose
        mean then varies by what the networks' variance (ddof 1) says. ``p_values``: twice the median of the
        networks', which holds however they depend on each other; so of ``settings["learned"]``. ``components`` and
        ``children`` that all networks have are averaged alike. A feature is pending if it is so
        in any network, and unused if in all.

    Raises
    ------
    PermGradError
        If there is no ranking, or they differ in features, classes, method or loss.

    References
    ----------
    Rao & Wu, JASA 83 (1988), n - 1 draws of n; Meinshausen, Meier & Bühlmann, JASA 104 (2009), the median.

    Examples
    --------
    >>> pg.average_rankings([ranking, ranking], random_state=0).features == ranking.features
    True
    """
    _check_alike(rankings)
    first, n = rankings[0], len(rankings)
    scores = _mean(rankings, "scores")
    pending, unused = _either(rankings)
    shares = _network_shares(rankings, random_state)
    replicates = _replicates(rankings, "replicates", shares)
    measured = ~np.isin(first.features, [*pending, *unused])
    p_values = [ranking.p_values for ranking in rankings if ranking.p_values is not None]
    averaged = FeatureRanking(
        first.features,
        scores,
        std=np.std([ranking.scores for ranking in rankings], axis=0, ddof=1) if n > 1 else None,
        class_scores=None if first.classes is None else _mean(rankings, "class_scores"),
        classes=first.classes,
        method=first.method,
        pending=pending,
        unused=unused,
        branch_weights=_mean_weights(rankings),
        p_values=np.minimum(1, 2 * np.median(p_values, axis=0)) if n > 1 and len(p_values) == n else first.p_values,
        **({} if replicates is None else interval(scores, replicates, measured)),
        replicates=replicates,
        class_replicates=_replicates(rankings, "class_replicates", shares),
        components=_averaged_parts([ranking.components for ranking in rankings], random_state),
        children=_averaged_parts([ranking.children for ranking in rankings], random_state),
        settings={**_shared_settings(rankings), **_learned(rankings), "n_networks": n, **_scope(n)},
    )
    agreement = {name: part.agreement(averaged) for name, part in averaged.components.items()}
    return replace(averaged, settings={**averaged.settings, "agreement": agreement}) if agreement else averaged


def _check_alike(rankings: Sequence[FeatureRanking]) -> None:
    if not rankings:
        raise PermGradError("an average needs at least one ranking, got none")
    for what in ("features", "classes", "method", "loss"):
        different = {ranking.settings.get(what) if what == "loss" else getattr(ranking, what) for ranking in rankings}
        if len(different) > 1:
            listed = " and ".join(map(repr, sorted(different, key=str)[:2]))
            raise PermGradError(f"rankings to average must have the same {what}, got {listed}")


def _either(rankings: Sequence[FeatureRanking]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the features that are pending in any ranking, and those that are unused in all."""
    features = rankings[0].features
    pending = set().union(*(ranking.pending for ranking in rankings))
    unused = set.intersection(*(set(ranking.unused) for ranking in rankings))
    return tuple(f for f in features if f in pending), tuple(f for f in features if f in unused)


def _mean(rankings: Sequence[FeatureRanking], name: str) -> np.ndarray:
    return np.mean([getattr(ranking, name) for ranking in rankings], axis=0)


def _mean_weights(rankings: Sequence[FeatureRanking]) -> dict[str, float] | None:
    weights = [ranking.branch_weights for ranking in rankings]
    if any(each is None or set(each) != set(weights[0] or ()) for each in weights):
        return None
    return {name: float(np.mean([each[name] for each in weights if each])) for name in weights[0] or ()}


def _network_shares(rankings: Sequence[FeatureRanking], random_state: int) -> np.ndarray | None:
    """Return each network's share in each replicate, (n_replicates, n_networks); None where one has no replicates."""
    n, replicates = len(rankings), rankings[0].replicates
    if replicates is None or any(ranking.replicates is None for ranking in rankings):
        return None
    draws = max(1, n - 1)
    counts = np.random.default_rng([random_state, n]).multinomial(draws, np.full(n, 1 / n), len(replicates))
    return counts.astype(np.float32) / draws


def _replicates(rankings: Sequence[FeatureRanking], name: str, shares: np.ndarray | None) -> Any:
    """Average each replicate over the networks that were drawn."""
    if shares is None or getattr(rankings[0], name) is None:
        return None
    of_networks = zip(shares.T, (getattr(ranking, name) for ranking in rankings), strict=True)
    return sum(share.reshape(-1, *[1] * (values.ndim - 1)) * values for share, values in of_networks)


def _shared_settings(rankings: Sequence[FeatureRanking]) -> dict[str, Any]:
    first, others = rankings[0].settings, rankings[1:]
    shared = {name: value for name, value in first.items() if all(r.settings.get(name) == value for r in others)}
    for name in ("total", "error", "sum"):
        if all(isinstance(ranking.settings.get(name), float) for ranking in rankings):
            shared[name] = float(np.mean([ranking.settings[name] for ranking in rankings]))
    ended = [ranking.settings for ranking in rankings if not ranking.settings.get("finished", True)]
    if ended:
        shared |= {
            "finished": False,
            **{name: min(each[name] for each in ended) for name in ("n_rows", "rows_to_walk")},
        }
    untold = {name: tie for ranking in rankings for name, tie in (ranking.settings.get("untold") or {}).items()}
    return {**shared, "untold": untold} if untold else shared


def _scope(n: int) -> dict[str, str]:
    return {"scope": f"these {n} networks"} if n > 1 else {}


def _learned(rankings: Sequence[FeatureRanking]) -> dict[str, Any]:
    known = [ranking.settings["learned"] for ranking in rankings if ranking.settings.get("learned")]
    return {"learned": average(known)} if len(known) == len(rankings) else {}


def _averaged_parts(parts: Sequence[dict[str, FeatureRanking]], random_state: int) -> dict[str, FeatureRanking]:
    shared = [name for name in parts[0] if all(name in each for each in parts)]
    return {name: average_rankings([each[name] for each in parts], random_state) for name in shared}
