"""The one result type: what an explainer found about each feature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control, spearmanr

from permgrad.data.html import html_table
from permgrad.errors import PermGradError, listing, reading
from permgrad.files import SAVE_AGAIN, plain
from permgrad.importance._ranking_files import ARRAYS, KIND, read_ranking, write_ranking
from permgrad.importance.bootstrap import interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from permgrad.importance.two_rankings import RankingComparison

_INTERVALS = ("low", "high", "rank_low", "rank_high")
REPLICATES = ("replicates", "class_replicates")


@dataclass(frozen=True, eq=False)
class FeatureRanking:
    """Scores of the features of a table; a higher score means that the model relies more on the feature.

    Attributes
    ----------
    features : tuple of str
        The table's columns, in the table's order.
    scores : ndarray of shape (n_features,), float64
    std : ndarray of shape (n_features,) or None
        Standard deviation of the score over repeats (ddof 1), if there are repeats.
    class_scores : ndarray of shape (n_features, n_classes) or None
    classes : tuple of str or None
    method : str
        "permutation", "grad_cam", "permgrad", ...
    components : dict of FeatureRanking
        The rankings that this one was made from.
    branch_weights : dict of float or None
        Share of each branch in the fusion.
    unused : tuple of str
        Columns that never vary, or that no part of the network sees: they rank last.
    pending : tuple of str
        Features that a time limit left out: their score, 0, means nothing, and they rank after the measured ones.
    low, high : ndarray of shape (n_features,) or None
        95 % interval of the score, over test rows and repeats (a bootstrap).
    rank_low, rank_high : ndarray of shape (n_features,) or None
        95 % interval of the rank, 1 for the best.
    p_values : ndarray of shape (n_features,) or None
        One-sided. With the method "conditional", they test whether the target is independent of the feature, given the
        other columns. With any other method, they test whether *this model* does not gain by the feature; a model can
        gain by a feature that merely correlates with a relevant one. See `permutation_importance`.
    q_values : ndarray of shape (n_features,) or None
        p-values adjusted by Benjamini & Hochberg (1995) over all measured features (1 for the others), also in a part
        of the ranking. `select` with ``fdr=`` selects columns by them.
    children : dict of FeatureRanking
        For each group of features, the ranking of its members, each of which may have children.
    settings : dict
        Everything needed to reproduce the result: options, seed, versions, hash of the data.
    replicates : ndarray of shape (n_replicates, n_features) or None
        Bootstrap replicates of the scores. They are kept in memory, not in files.
    class_replicates : ndarray of shape (n_replicates, n_features, n_classes) or None
        The same of the class scores.

    Examples
    --------
    >>> ranking = pg.FeatureRanking(("age", "dose", "sex"), np.array([0.2, 0.5, 0.1]))
    >>> ranking.table["feature"].tolist()
    ['dose', 'age', 'sex']
    """

    features: tuple[str, ...]
    scores: np.ndarray
    std: np.ndarray | None = None
    class_scores: np.ndarray | None = None
    classes: tuple[str, ...] | None = None
    method: str = ""
    components: dict[str, FeatureRanking] = field(default_factory=dict)
    branch_weights: dict[str, float] | None = None
    unused: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    rank_low: np.ndarray | None = None
    rank_high: np.ndarray | None = None
    p_values: np.ndarray | None = None
    q_values: np.ndarray | None = None
    children: dict[str, FeatureRanking] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    replicates: np.ndarray | None = field(default=None, repr=False)
    class_replicates: np.ndarray | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.p_values is not None and self.q_values is None:
            object.__setattr__(self, "q_values", self._adjusted(np.asarray(self.p_values, float)))
        for name in ARRAYS:
            values = getattr(self, name)
            if values is not None:
                values = np.asarray(values, float)
                values.flags.writeable = False
                object.__setattr__(self, name, values)
                if len(values) != len(self.features) or not np.isfinite(values).all():
                    raise PermGradError(f"{name} must be a finite number for each of {len(self.features)} features")
        if (self.class_scores is None) != (self.classes is None):
            raise PermGradError("class_scores and classes must be given together")
        if self.class_scores is not None and self.class_scores.shape[1:] != (len(self.classes or ()),):
            raise PermGradError(f"class_scores must have one column for each of the classes {self.classes}")

    @property
    def learned(self) -> bool:
        """False where the model's loss could not be told from chance's, see `rank_features`."""
        return bool((self.settings.get("learned") or {}).get("better", True))

    @property
    def scope(self) -> str:
        """What the scores are of: "this network", or "this recipe" where several trainings were averaged."""
        return str(self.settings.get("scope", "this network"))

    @property
    def trusted_weights(self) -> dict[str, float]:
        """Branch weights to show: none of a model that has not learned anything, or where there are none."""
        return dict(self.branch_weights or {}) if self.learned else {}

    @property
    def probes(self) -> tuple[str, ...]:
        """Features that are shuffled copies of others, see `Table.with_probes`."""
        known = self.settings.get("probes") or ()
        return tuple(name for name in self.features if name in known)

    @property
    def probe_level(self) -> tuple[float, float] | None:
        """Lowest and highest end of the probes' 95 % intervals (of their scores, where there are none); None without.

        A column whose score is not above the highest cannot be told from one that tells nothing.
        """
        at = np.isin(self.features, self.probes) & ~np.isin(self.features, (*self.pending, *self.unused))
        if not at.any():
            return None
        low, high = (self.scores if end is None else end for end in (self.low, self.high))
        return float(low[at].min()), float(high[at].max())

    @property
    def order(self) -> np.ndarray:
        """Feature numbers, best first; equal scores keep the table's order; pending, then unused columns come last."""
        return np.lexsort((-self.scores, np.isin(self.features, self.pending), np.isin(self.features, self.unused)))

    def _adjusted(self, p_values: np.ndarray, method: str = "bh") -> np.ndarray:
        q = np.ones(len(p_values))
        measured = ~np.isin(self.features, (*self.pending, *self.unused))
        if measured.any():
            q[measured] = false_discovery_control(p_values[measured], method=method)
        return q

    @property
    def table(self) -> pd.DataFrame:
        """One row per feature, best first.

        Columns: ``feature``, ``score``; where known its ``std``, ``low``, ``high``, ``rank_low``, ``rank_high``,
        ``p`` and ``q``; each component's under ``<name>``, ``<name>_std`` and so on, NaN where a time limit left the
        component out; then ``score[<class>]`` and ``<component>[<class>]`` for each class; ``probe``, if there are
        any; last, if features are pending, ``measured``.
        """
        columns: dict[str, Any] = {"feature": self.features, "score": self.scores, **self._uncertainty()}
        for name, part in self.components.items():
            known = {name: part.scores, **{f"{name}_{what}": values for what, values in part._uncertainty().items()}}
            columns |= {what: part._measured(values) for what, values in known.items()}
        for name, part in {"score": self, **self.components}.items():
            for c, label in enumerate(part.classes or ()):
                columns[f"{name}[{label}]"] = part._measured(part.class_scores[:, c])  # type: ignore[index]
        if self.probes:
            columns["probe"] = np.isin(self.features, self.probes)
        if self.pending:
            columns["measured"] = ~np.isin(self.features, self.pending)
        return pd.DataFrame(columns).iloc[self.order].reset_index(drop=True)

    def _uncertainty(self) -> dict[str, np.ndarray]:
        known = {"std": self.std, **{name: getattr(self, name) for name in _INTERVALS}}
        known |= {"p": self.p_values, "q": self.q_values}
        return {name: values for name, values in known.items() if values is not None}

    def _measured(self, values: np.ndarray) -> np.ndarray:
        """Return values of the features, NaN for those that are pending."""
        return np.where(np.isin(self.features, self.pending), np.nan, values) if self.pending else values

    def select(
        self,
        k: int | None = None,
        *,
        threshold: float | None = None,
        fdr: float | None = None,
        method: Literal["bh", "by"] = "bh",
        above_probes: bool = False,
    ) -> list[str]:
        """Return the names of the features to keep, best first.

        Parameters
        ----------
        k : int, optional
            Keep this number of the best features; fewer, if fewer were measured. Give one of `k`, `threshold` and
            `fdr`, or `above_probes`.
        threshold : float, optional
            Keep features whose score is above it.
        fdr : float, optional
            Keep features that add information about the target beyond the other columns, by the p-values of conditional
            permutation: the expected share of false ones among them is at most this. That holds as far as the p-values
            are valid; see `permutation_importance`.
        method : {"bh", "by"}
            How p-values are adjusted for their number: by Benjamini & Hochberg (1995), for independent or positively
            dependent p-values, or by Benjamini & Yekutieli (2001), for any p-values, which finds less.
        above_probes : bool
            Of the features selected otherwise, or of all, keep only those whose score is above the upper end of every
            probe's interval (`probe_level`). This does not bound an error rate.

        Returns
        -------
        list of str
            Pending features, unused features and probes are never among them; `order` has all features.

        Raises
        ------
        PermGradError
            If none or several are given, `threshold` is no number, `k` is less than 1, `fdr` is not between 0 and 1,
            `method` is unknown, or the ranking has no conditional p-values, or no probes.

        Examples
        --------
        >>> ages = pg.FeatureRanking(("age", "dose", "sex"), np.array([0.2, 0.5, -0.1]))
        >>> ages.select(2), ages.select(threshold=0)
        (['dose', 'age'], ['dose', 'age'])
        """
        given = sum(each is not None for each in (k, threshold, fdr))
        if given > 1 or (not given and not above_probes):
            raise PermGradError(
                f"give one of k, threshold and fdr, got k={k!r}, threshold={threshold!r} and fdr={fdr!r}"
            )
        if threshold is not None and np.isnan(threshold):
            raise PermGradError("threshold must be a number, got nan")
        if k is not None and k < 1:
            raise PermGradError(f"k must be at least 1, got {k}")
        kept = set(self.features) - {*self.pending, *self.unused, *self.probes}
        if above_probes:
            kept &= self._above_probes()
        if fdr is not None:
            kept &= self._discovered(fdr, method)
        best = [i for i in self.order if self.features[i] in kept]
        return [self.features[i] for i in best[:k] if threshold is None or self.scores[i] > threshold]

    def _above_probes(self) -> set[str]:
        """Return the features whose score is above the probes' level."""
        if self.probe_level is None:
            raise PermGradError(
                "select(above_probes=True) goes by probes, and this ranking has none: train and rank with"
                " table.with_probes() (on the command line: --probes 4)"
            )
        return {name for name, score in zip(self.features, self.scores, strict=True) if score > self.probe_level[1]}

    def _discovered(self, fdr: float, method: str) -> set[str]:
        """Return the features whose conditional p-value, adjusted for the number of features, is at most `fdr`."""
        if not 0 < fdr < 1:
            raise PermGradError(f"fdr must be between 0 and 1, got {fdr}")
        if method not in ("bh", "by"):
            raise PermGradError(f"method must be 'bh' or 'by', got {method!r}")
        tested = self if self.method == "conditional" else self.components.get("conditional")
        if tested is None or tested.p_values is None:
            raise PermGradError(
                "select(fdr=) goes by the p-values of conditional permutation, and this ranking has none: rank with"
                " conditional=True (on the command line: --conditional). Other p-values say what one network gains by a"
                " feature, and do not bound the share of false ones"
            )
        adjusted = tested._adjusted(np.asarray(tested.p_values, float), method)
        return {name for name, q in zip(tested.features, adjusted, strict=True) if q <= fdr}

    def with_unused(self, features: Sequence[str]) -> FeatureRanking:
        """Return the ranking with all of `features`, in this order; features that it lacks get 0 and rank last.

        Examples
        --------
        >>> pg.FeatureRanking(("age",), np.array([0.2])).with_unused(["site", "age"]).unused
        ('site',)
        """
        position = {name: i for i, name in enumerate(self.features)}
        at = [position.get(name, -1) for name in features]
        rest = {"p_values": 1.0, "q_values": 1.0, "rank_low": len(features), "rank_high": len(features)}

        def expand(name: str) -> np.ndarray | None:
            values = getattr(self, name)
            return (
                None if values is None else np.concatenate([values, np.full_like(values[:1], rest.get(name, 0.0))])[at]
            )

        arrays: dict[str, Any] = {name: expand(name) for name in ARRAYS}
        for name in REPLICATES:
            if (drawn := getattr(self, name)) is not None:
                arrays[name] = np.insert(drawn, drawn.shape[1], 0, axis=1)[:, at]
        return replace(
            self,
            **arrays,
            features=tuple(features),
            components={name: part.with_unused(features) for name, part in self.components.items()},
            unused=tuple(name for name in features if name not in position),
        )

    def only(self, features: Sequence[str]) -> FeatureRanking:
        """Return the ranking of some of the features only, in the given order.

        Scores, their intervals, p- and q-values stay the same. Intervals of ranks are recomputed among these features;
        they are absent without bootstrap replicates, as in a ranking read from a file.

        Raises
        ------
        PermGradError
            If one is not among the features.

        Examples
        --------
        >>> ranking.only(["petal width (cm)", "petal length (cm)"]).features
        ('petal width (cm)', 'petal length (cm)')
        """
        position = {name: i for i, name in enumerate(self.features)}
        absent = [name for name in features if name not in position]
        if absent:
            raise PermGradError(f"not among the ranking's features: {listing(absent)}")
        at = [position[name] for name in features]
        arrays: dict[str, Any] = {
            name: None if (values := getattr(self, name)) is None else values[at] for name in ARRAYS
        }
        unused, pending = set(self.unused), set(self.pending)
        arrays |= {"rank_low": None, "rank_high": None}
        arrays |= {name: drawn[:, at] for name in REPLICATES if (drawn := getattr(self, name)) is not None}
        if self.replicates is not None and self.rank_low is not None:
            measured = ~np.isin(features, [*unused, *pending])
            ranks = interval(arrays["scores"], arrays["replicates"], measured)
            arrays |= {name: ranks[name] for name in ("rank_low", "rank_high")}
        return replace(
            self,
            **arrays,
            features=tuple(features),
            components={name: part.only(features) for name, part in self.components.items()},
            children={name: part for name, part in self.children.items() if name in features},
            unused=tuple(name for name in features if name in unused),
            pending=tuple(name for name in features if name in pending),
        )

    def agreement(self, other: FeatureRanking) -> float:
        """Return Spearman's rank correlation between the scores of two rankings, over features measured in both.

        It is nan if there are fewer than two such features, or if one ranking gives all of them equal scores.

        Examples
        --------
        >>> other = pg.FeatureRanking(ranking.features, -ranking.scores)
        >>> round(ranking.agreement(other), 6)
        -1.0
        """
        left_out = {*self.pending, *self.unused, *other.pending, *other.unused}
        scores = dict(zip(other.features, other.scores, strict=True))
        shared = [name not in left_out and name in scores for name in self.features]
        ours = self.scores[shared]
        theirs = np.array([scores[name] for name, both in zip(self.features, shared, strict=True) if both])
        if len(ours) < 2 or np.ptp(ours) == 0 or np.ptp(theirs) == 0:
            return float("nan")
        return float(spearmanr(ours, theirs).statistic)

    def compare(self, other: FeatureRanking, names: tuple[str, str] = ("first", "second")) -> RankingComparison:
        """Compare this ranking with another of the same features; `RankingComparison` has a table and a picture.

        Raises
        ------
        PermGradError
            If the features differ, or the names are equal.

        Examples
        --------
        >>> first = pg.FeatureRanking(("age", "dose", "sex"), np.array([0.2, 0.5, 0.1]))
        >>> second = pg.FeatureRanking(("age", "dose", "sex"), np.array([0.6, 0.5, 0.1]))
        >>> first.compare(second).table[["feature", "rank_first", "rank_second"]]
          feature  rank_first  rank_second
        0    dose           1            2
        1     age           2            1
        2     sex           3            3
        """
        from permgrad.importance.two_rankings import compare_two

        return compare_two(self, other, names)

    def drill_down(self, group: str) -> FeatureRanking:
        """Return the ranking of a group's members.

        Raises
        ------
        PermGradError
            If `group` is not a group of this ranking.

        Examples
        --------
        >>> members = pg.FeatureRanking(("length", "width"), np.array([0.3, 0.2]))
        >>> grouped = pg.FeatureRanking(("petal", "colour"), np.array([0.5, 0.1]), children={"petal": members})
        >>> grouped.drill_down("petal").features
        ('length', 'width')
        """
        if group not in self.children:
            known = (
                f"groups here are {listing(self.children)}" if self.children else "no group here has several members"
            )
            raise PermGradError(f"{group!r} has no members to rank; {known}")
        return self.children[group]

    def plot(self, top: int = 10) -> Figure:
        """Draw the best features as horizontal bars, stacked by class if there are classes.

        Examples
        --------
        >>> figure = ranking.plot(top=3)
        """
        from permgrad.plotting import plot_ranking

        return plot_ranking(self, top=top)

    def _repr_html_(self) -> str:
        table = self.table
        known = [name for name in ("feature", "score", *_INTERVALS, "p", "q", *self.components) if name in table]
        notes = [] if self.learned else ["the model's loss cannot be told from chance's: its scores mean little"]
        if not self.settings.get("finished", True):
            notes.append("a time limit ended the ranking before it was finished")
        if self.pending:
            notes.append(f"{len(self.pending)} features are pending: a time limit left them out")
        return html_table(f"{self.method}: what the columns are worth to {self.scope}", table[known], notes=notes)

    def save(self, path: str | Path) -> None:
        """Write to ``.json`` or ``.parquet``; `load` gives back an equal ranking.

        Examples
        --------
        >>> ranking.save("ranking.parquet")
        """
        write_ranking(path, self.to_dict())

    @classmethod
    def load(cls, path: str | Path) -> FeatureRanking:
        """Read what `save` wrote.

        Raises
        ------
        FileFormatError
            If the file is absent, damaged, or no ranking.

        Examples
        --------
        >>> ranking.save("ranking.json")
        >>> pg.FeatureRanking.load("ranking.json").features == ranking.features
        True
        """
        content = read_ranking(path)
        with reading(path, "a ranking saved by permgrad", SAVE_AGAIN):
            return cls.from_dict(content)

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers, ready for JSON.

        Examples
        --------
        >>> ranking.to_dict()["classes"]
        ['setosa', 'versicolor', 'virginica']
        """
        return {
            "kind": KIND,
            "method": self.method,
            "features": list(self.features),
            **{name: None if (values := getattr(self, name)) is None else values.tolist() for name in ARRAYS},
            "classes": None if self.classes is None else list(self.classes),
            "branch_weights": self.branch_weights,
            "unused": list(self.unused),
            "pending": list(self.pending),
            "settings": plain(self.settings),
            "components": {name: part.to_dict() for name, part in self.components.items()},
            "children": {name: part.to_dict() for name, part in self.children.items()},
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> FeatureRanking:
        """Build the ranking that `to_dict` described.

        Examples
        --------
        >>> pg.FeatureRanking.from_dict(ranking.to_dict()).method
        'end_to_end'
        """
        return cls(
            features=tuple(content["features"]),
            **{name: content[name] for name in ARRAYS},
            classes=None if content["classes"] is None else tuple(content["classes"]),
            method=content["method"],
            components={name: cls.from_dict(part) for name, part in content["components"].items()},
            children={name: cls.from_dict(part) for name, part in content["children"].items()},
            branch_weights=content["branch_weights"],
            unused=tuple(content["unused"]),
            pending=tuple(content["pending"]),
            settings=content["settings"],
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FeatureRanking) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((self.features, self.method, self.scores.tobytes()))

    def __repr__(self) -> str:
        left = f" ({len(self.pending)} pending)" if self.pending else ""
        best = ", ".join(self.select(3))
        return f"FeatureRanking({self.method!r}, {len(self.features)} features{left}, best: {best})"
