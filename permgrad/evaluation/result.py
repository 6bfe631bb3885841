"""The referee's result: tables, a verdict, and a directory that holds both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from permgrad.data.html import html_table
from permgrad.directories import new_directory
from permgrad.errors import reading
from permgrad.evaluation._tables import SCHEMAS, read_matrix, read_table, write_table
from permgrad.evaluation.agreement import rank_correlation
from permgrad.evaluation.comparison import holm
from permgrad.evaluation.stability import RankStability
from permgrad.files import read_json, write_json
from permgrad.importance.ranking import FeatureRanking
from permgrad.metrics.paired import mean_p_value

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KIND = "permgrad.RankingEvaluation"
FILE = "evaluation.json"
ALPHA = 0.05
STILL_ALIKE = 0.5
"""Spearman correlation with the ranking of a network that knows nothing, above which it is named."""


@dataclass(frozen=True, eq=False)
class RankingEvaluation:
    """The results of testing a ranking, compared with others.

    Attributes
    ----------
    rankings : dict of FeatureRanking
        The ranking under test first, its components or companions, then those to compare with.
    curves, areas, chance : DataFrame
        See `deletion_curves`; without rows where that part was not asked for, as the others.
    retrain : DataFrame
        See `remove_and_retrain`.
    sanity : DataFrame
        See `sanity_checks`.
    agreement : DataFrame
        Spearman correlation of each pair of rankings.
    stability : dict of dict of RankStability
        Kind of training → name of ranking → how stable it is; see `reseeded`.
    settings : dict
        Seed, versions, numbers of rows, the estimator's settings, seconds of each part.
    left_out : tuple of str
        Steps that the time limit left out: ``"part: step"``.

    Examples
    --------
    >>> evaluation.agreement.shape[0] == evaluation.agreement.shape[1]
    True
    """

    rankings: dict[str, FeatureRanking]
    curves: pd.DataFrame
    areas: pd.DataFrame
    chance: pd.DataFrame
    retrain: pd.DataFrame
    sanity: pd.DataFrame
    agreement: pd.DataFrame
    stability: dict[str, dict[str, RankStability]] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()

    @property
    def tested(self) -> str:
        """Name of the ranking under test."""
        return next(iter(self.rankings))

    @property
    def summary(self) -> pd.DataFrame:
        """One row per ranking, best place first.

        ``deletion_<replacement>``: difference of the areas under the deletion curves, higher is better.
        ``retrain``: mean score after removal, over the numbers of columns that all rankings have; lower is
        better. ``spearman``: with the ranking under test. ``place``: mean, over these measures, of the
        ranking's place in each; lower is better. NaN where a measure is absent.
        """
        names = list(self.rankings)
        measures = {f"deletion_{way}": values.reindex(names) for way, values in self._differences().items()}
        after = self._after_removal()
        if not after.empty:
            measures["retrain"] = after.mean().reindex(names)
        places = [values.rank(ascending=measure == "retrain") for measure, values in measures.items()]
        columns = {
            "ranking": names,
            **{measure: values.to_numpy() for measure, values in measures.items()},
            "spearman": [rank_correlation(self.rankings[self.tested], self.rankings[name]) for name in names],
            "place": pd.concat(places, axis=1).mean(axis=1).to_numpy() if places else np.nan,
        }
        return pd.DataFrame(columns).sort_values("place", kind="stable", ignore_index=True)

    @property
    def table(self) -> pd.DataFrame:
        """The same as `summary`."""
        return self.summary

    def plot(self) -> Figure:
        """Draw the deletion curves; without them, the results of retraining, or the agreement of rankings.

        Examples
        --------
        >>> figure = evaluation.plot()
        """
        from permgrad import plotting

        if len(self.curves):
            return plotting.plot_curves(self)
        return plotting.plot_retraining(self) if len(self.retrain) else plotting.plot_agreement(self.agreement)

    def _repr_html_(self) -> str:
        notes = list(self.losses) or [f"{self.tested} loses no comparison"]
        notes += [f"left out by the time limit: {step}" for step in self.left_out]
        return html_table(f"The ranking {self.tested!r} beside others, best place first", self.summary, notes=notes)

    @property
    def losses(self) -> tuple[str, ...]:
        """Where the ranking under test is beaten, and by which; where a sanity check does not move it.

        Another ranking is named where a test says that it is better (level 0.05, adjusted by Holm for the number of
        rankings): for deletion paired over rows, for retraining over seeds. A ranking that is no better than 95 % of
        random orders is named, too.
        """
        return (*self._lost_deletions(), *self._lost_removals(), *self._insane(), *self._less_stable())

    def _differences(self) -> dict[str, pd.Series]:
        return {
            str(way): part.set_index("ranking")["difference"]
            for way, part in self.areas.groupby("replacement", sort=False)
        }

    def _after_removal(self) -> pd.DataFrame:
        """Return mean scores after removal, over the numbers of columns that all rankings have: seed × ranking."""
        removed = self.retrain[self.retrain["removed"] > 0]
        complete = removed.groupby("removed")["ranking"].transform("nunique") == len(self.rankings)
        return removed[complete].pivot_table("score", "seed", "ranking", aggfunc="mean")

    def _lost_deletions(self) -> Iterator[str]:
        for way, part in self.areas.groupby("replacement", sort=False):
            rows = part.set_index("ranking").sort_values("difference", ascending=False, kind="stable")
            if self.tested not in rows.index:
                continue
            own = float(rows["difference"][self.tested])
            others = rows.drop(self.tested)
            better = others.index[_rejected(others["better_p"])]
            text = {name: f"{row['difference']:.3g} ± {row['std_error']:.1g}" for name, row in rows.iterrows()}
            yield from self._behind(f"deletion ({way})", text, list(better))
            band = self.chance[self.chance["replacement"] == way]
            for low, high in band[["low", "high"]].to_numpy(float).tolist():
                if own <= high:
                    yield (
                        f"deletion ({way}): {self.tested} {text[self.tested]} is no better than chance, of whose orders"
                        f" 90 % are between {low:.3g} and {high:.3g}"
                    )

    def _lost_removals(self) -> Iterator[str]:
        after = self._after_removal()
        if self.tested not in after:
            return
        means = after.mean().sort_values(kind="stable")
        spread = after.std(ddof=1).fillna(0)
        others = means.index.drop(self.tested)
        p = pd.Series([mean_p_value((after[self.tested] - after[name]).to_numpy()) for name in others], others, float)
        better = others[_rejected(p)]
        text = {name: f"{means[name]:.3f} ± {spread[name]:.1g}" for name in map(str, means.index)}
        yield from self._behind("remove-and-retrain (lower is better)", text, list(better))

    def _behind(self, test: str, text: dict[Any, str], better: list[Any]) -> Iterator[str]:
        if better:
            others = ", ".join(f"{name} {text[name]}" for name in better)
            yield f"{test}: {self.tested} {text[self.tested]}, behind {others}"

    def _insane(self) -> Iterator[str]:
        rows = self.sanity[(self.sanity["ranking"] == self.tested) & (self.sanity["step"] > 0)]
        for test, part in rows.groupby("test", sort=False):
            value = part["spearman"].iloc[-1]
            if value > STILL_ALIKE:
                what = "all weights random" if test == "weights" else "shuffled labels"
                yield f"sanity ({what}): Spearman with the ranking of the trained network is still {value:.2f}"

    def _less_stable(self) -> Iterator[str]:
        for kind, parts in self.stability.items():
            if self.tested in parts:
                better = [name for name, part in parts.items() if part.nogueira > parts[self.tested].nogueira]
                yield from self._behind(
                    f"stability ({kind})", {n: f"{p.nogueira:.2f}" for n, p in parts.items()}, better
                )

    def save(self, directory: str | Path, *, overwrite: bool = False) -> None:
        """Write to a new directory, see `write_evaluation`; `load` gives back the same.

        Raises
        ------
        PermGradError
            If the directory exists and `overwrite` is false, or cannot be written.

        Examples
        --------
        >>> evaluation.save("evaluation")
        """
        with new_directory(directory, overwrite=overwrite) as staging:
            write_evaluation(self, staging)

    @classmethod
    def load(cls, directory: str | Path) -> RankingEvaluation:
        """Read what `save` wrote.

        Raises
        ------
        FileFormatError
            If a file is absent or damaged, or the directory holds no evaluation.

        Examples
        --------
        >>> evaluation.save("evaluation")
        >>> pg.RankingEvaluation.load("evaluation").left_out
        ()
        """
        directory = Path(directory)
        content = read_json(directory / FILE, kind=KIND)
        with reading(directory, "an evaluation saved by permgrad", "evaluate again"):
            return cls(
                rankings={name: FeatureRanking.from_dict(part) for name, part in content["rankings"].items()},
                **{name: read_table(name, directory / f"{name}.csv") for name in SCHEMAS},
                agreement=read_matrix(directory / "agreement.csv"),
                stability={
                    kind: {name: RankStability.from_dict(part) for name, part in parts.items()}
                    for kind, parts in content["stability"].items()
                },
                settings=content["settings"],
                left_out=tuple(content["left_out"]),
            )

    def __repr__(self) -> str:
        left = f", {len(self.left_out)} steps left out" if self.left_out else ""
        return f"RankingEvaluation({self.tested!r} beside {len(self.rankings) - 1} others{left})"


def _rejected(p_values: pd.Series) -> np.ndarray:
    return holm(p_values.fillna(1).to_numpy()) < ALPHA if len(p_values) else np.zeros(0, bool)


def write_evaluation(evaluation: RankingEvaluation, directory: Path) -> None:
    """Write an evaluation's files into an existing directory; `RankingEvaluation.load` reads them.

    ``curves.csv``, ``areas.csv``, ``chance.csv``, ``retrain.csv``, ``sanity.csv``, ``agreement.csv``; for people
    ``summary.csv``, ``stability.csv`` and ``losses.txt``; ``evaluation.json`` with rankings, stability and settings.
    """
    for name in SCHEMAS:
        write_table(getattr(evaluation, name), directory / f"{name}.csv")
    write_table(evaluation.agreement, directory / "agreement.csv", index=True)
    write_table(evaluation.summary, directory / "summary.csv")
    tables = [
        part.table.assign(kind=kind, ranking=name)
        for kind, parts in evaluation.stability.items()
        for name, part in parts.items()
    ]
    if tables:
        write_table(pd.concat(tables), directory / "stability.csv")
    (directory / "losses.txt").write_text("".join(f"{line}\n" for line in evaluation.losses), encoding="utf-8")
    content = {
        "kind": KIND,
        "rankings": {name: ranking.to_dict() for name, ranking in evaluation.rankings.items()},
        "stability": {
            kind: {name: part.to_dict() for name, part in parts.items()} for kind, parts in evaluation.stability.items()
        },
        "settings": evaluation.settings,
        "left_out": list(evaluation.left_out),
        "losses": list(evaluation.losses),
    }
    write_json(directory / FILE, content)
