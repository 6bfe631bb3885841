"""A ranking by the mean of several estimators: each ranks, and the rankings are averaged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from permgrad.errors import PermGradError, UnfittedError, listing
from permgrad.estimators._effects import TellsEffects
from permgrad.estimators._ranking import Groups
from permgrad.importance.averaging import average_rankings
from permgrad.importance.budget import Budget
from permgrad.importance.formula import Choice, Formula
from permgrad.importance.ranking import FeatureRanking


class RanksByAveraging(TellsEffects):
    """`rank_features` for the mean of several fitted ``estimators_``."""

    estimators_: Sequence[Any]

    def rank_features(
        self,
        X: Any,
        y: Any = None,
        *,
        groups: Groups | None = None,
        sample_weight: Any = None,
        row_groups: Any = None,
        formula: Formula | Choice | None = None,
        end_to_end: bool | None = None,
        conditional: bool = False,
        n_repeats: int = 5,
        random_state: int | None = None,
        budget: Budget = Budget(),
        verbose: bool | None = None,
    ) -> FeatureRanking:
        """Rank the table's columns by each network, on the same rows and permutations, and average the rankings.

        Parameters
        ----------
        X, y, groups, sample_weight, row_groups, formula, end_to_end, conditional, n_repeats, verbose
            As for `HybridClassifier.rank_features`.
        random_state : int, optional
            Seed of permutations and bootstrap, the same for all networks; by default 0.
        budget : Budget
            Each network gets its share of the time, and its own checkpoint beside the named one.

        Returns
        -------
        FeatureRanking
            See `permgrad.average_rankings`: intervals are over rows and networks.

        Raises
        ------
        PermGradError
            If one of the estimators cannot rank features, or their rankings are not of one kind.

        Examples
        --------
        >>> ranked = pg.AveragedClassifier.of([clf, clf]).rank_features(test, formula="last in", n_repeats=1)
        >>> ranked.features == clf.features_
        True
        """
        if not hasattr(self, "estimators_"):
            raise UnfittedError(f"this {type(self).__name__} is not fitted yet; call fit first")
        unable = [type(each).__name__ for each in self.estimators_ if not hasattr(each, "rank_features")]
        if unable:
            raise PermGradError(f"an average ranks features if all of its estimators do, not so {listing(unable)}")
        random_state = 0 if random_state is None else random_state
        budget, n = budget.begin(), len(self.estimators_)
        rankings = [
            estimator.rank_features(
                X,
                y,
                groups=groups,
                sample_weight=sample_weight,
                row_groups=row_groups,
                formula=formula,
                end_to_end=end_to_end,
                conditional=conditional,
                n_repeats=n_repeats,
                random_state=random_state,
                budget=budget.step(f"network{i + 1}", share=1 / (n - i)),
                verbose=verbose,
            )
            for i, estimator in enumerate(self.estimators_)
        ]
        return average_rankings(rankings, random_state)
