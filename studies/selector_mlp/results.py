"""What the steps of the gene-panel study gave, looked up by ranking, seed and size of a panel."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import permgrad as pg
from permgrad.evaluation.panels import bootstrap_score
from studies.selector_mlp.conditions import SVMS
from studies.selector_mlp.networks import Parts
from studies.selector_mlp.settings import PanelSettings


def ranking_step(ranking: str, random_state: int) -> str:
    """Return the name of the step that ranks all genes and measures the ranking."""
    return f"rankings/{_slug(ranking)}" if ranking in SVMS else f"rankings/{_slug(ranking)}_{random_state}"


def ranking_alone_step(ranking: str, random_state: int) -> str:
    """Return the name of the step that ranks all genes, and no more."""
    return f"rankings_alone/{_slug(ranking)}_{random_state}"


def crop_step(ranking: str, random_state: int, k: int) -> str:
    """Return the name of the step that trains the referee and the ranking's own kind of network on its k best."""
    return f"crops/{_slug(ranking)}_{random_state}_best_{k}"


def referee_step(ranking: str, random_state: int, k: int) -> str:
    """Return the name of the step that trains the referee alone on a ranking's k best genes."""
    return f"referees/{_slug(ranking)}_{random_state}_best_{k}"


def panel_step(settings: PanelSettings, ranking: str) -> str:
    """Return the name of a panel's step, which says all that may change from run to run."""
    panels, n = settings.panels, settings.trainings.n
    return f"panels/{panels.size}_genes_by_{_slug(ranking)}_of_{panels.trainings}_trainings_scored_by_{n}"


def _slug(ranking: str) -> str:
    return re.sub("[^a-z0-9]+", "_", ranking.lower())


@dataclass(frozen=True)
class Results:
    """Results of one data set.

    Attributes
    ----------
    dataset : str
    parts : dict of str to Cells
        ``train``, ``validation`` and ``test``.
    steps : dict
        Results by the steps' names.
    """

    dataset: str
    parts: Parts
    steps: Mapping[str, Mapping[str, Any]]

    @property
    def markers(self) -> list[str]:
        """Planted genes; empty if nothing is known of them."""
        return list(self.parts["train"].notes.get("relevant", ()))

    def training(self, ranking: str, random_state: int) -> Mapping[str, Any]:
        """Return what was measured of a ranking of all genes."""
        return self.steps[ranking_step(ranking, random_state)]

    def trainings(self, ranking: str, seeds: Iterable[int]) -> list[Mapping[str, Any]]:
        """Return that of each seed."""
        return [self.training(ranking, random_state) for random_state in seeds]

    def rankings(self, ranking: str, seeds: Iterable[int]) -> list[pg.FeatureRanking]:
        """Return each seed's ranking."""
        return [self.ranking(ranking, random_state) for random_state in seeds]

    def ranking(self, ranking: str, random_state: int) -> pg.FeatureRanking:
        """Return one ranking of all genes."""
        names = (ranking_step(ranking, random_state), ranking_alone_step(ranking, random_state))
        scores = next(self.steps[name]["ranking"] for name in names if name in self.steps)
        return pg.FeatureRanking(self.parts["train"].features, np.array(scores), method=ranking)

    def best(self, ranking: str, random_state: int, k: int) -> list[str]:
        """Return the k best genes."""
        return self.ranking(ranking, random_state).select(k)

    def crops(self, ranking: str, seeds: Iterable[int], k: int) -> list[Mapping[str, Any]]:
        """Return what was trained anew on each seed's k best genes."""
        return [self.steps[crop_step(ranking, random_state, k)] for random_state in seeds]

    def referees(self, ranking: str, seeds: Iterable[int], k: int) -> list[list[int]]:
        """Return the referee's correct predictions of test cells, trained anew on each seed's k best genes."""
        names = [(crop_step(ranking, seed, k), referee_step(ranking, seed, k)) for seed in seeds]
        return [next(self.steps[name]["referee"] for name in both if name in self.steps) for both in names]

    def panel(self, settings: PanelSettings, ranking: str) -> Mapping[str, Any]:
        """Return the panel over reseeded trainings."""
        return self.steps[panel_step(settings, ranking)]

    def accuracy(self, correct: Sequence[Any] | np.ndarray, part: str = "test") -> dict[str, float]:
        """Return `panel_accuracy` on a part of the cells."""
        return panel_accuracy(correct, self.parts[part].y)

    def accuracy_with_all_genes(self, settings: PanelSettings, ranking: str) -> float:
        """Return the mean per-class accuracy on test cells with all genes, the mean over trainings."""
        return self.accuracy([each["correct"]["test"] for each in self.trainings(ranking, settings.seeds)])["accuracy"]


def panel_accuracy(correct: Sequence[Any] | np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Return the mean per-class accuracy over trainings, with its interval over trainings and cells.

    Parameters
    ----------
    correct : array of shape (n_trainings, n_cells)
        1 for each cell whose class is told; or differences of two such.
    y : ndarray of shape (n_cells,)
        Labels.
    """
    score = bootstrap_score(np.array(correct), y)
    return {"accuracy": score.mean, "low": score.low, "high": score.high}
