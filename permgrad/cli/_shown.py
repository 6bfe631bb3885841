"""What commands print of their results."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from permgrad.evaluation.by_level import ByLevel
    from permgrad.evaluation.reference_models import ReferenceModels
    from permgrad.evaluation.result import RankingEvaluation
    from permgrad.importance.ranking import FeatureRanking
    from permgrad.tuning.result import TuneResult

SHOWN = 10


def show_models(models: ReferenceModels) -> None:
    """Print whether a simpler model predicts better than the network, and the scores of each."""
    click.echo(f"\n{models.verdict}\n")
    table = models.table.drop(columns=[] if models.table["note"].any() else ["note"])
    click.echo(table.to_string(index=False, na_rep="", float_format=lambda value: f"{value:.3g}"))


def show_by_level(found: ByLevel) -> None:
    """Print a network's measures in each level of a column, and what the best columns are worth there."""
    table = found.table.assign(few=["few rows" if few else "" for few in found.table["few"]])
    click.echo(f"\nby {found.by}, with 95 % intervals over the level's rows:")
    click.echo(table.rename(columns={"few": ""}).to_string(index=False, na_rep="", float_format="{:.3g}".format))
    click.echo("\nscores of the columns in each level:")
    click.echo(found.scores(SHOWN).to_string(index=False, float_format="{:.3g}".format))


def show_ranking(ranking: FeatureRanking) -> None:
    """Print what speaks against the network, its test scores, what the ranking is of, and the first features."""
    from permgrad.importance.game.finishing import sum_sentence
    from permgrad.importance.learned import doubts
    from permgrad.importance.probes import probe_sentence
    from permgrad.importance.recipe import scope_sentence
    from permgrad.importance.redundancy import redundancy

    click.echo()
    for line in doubts(ranking):
        click.echo(f"{line}\n")
    test = ", ".join(f"{name} {value:.4g}" for name, value in ranking.settings["test_scores"].items())
    of_first = " of the first training" if ranking.settings.get("trainings", 1) > 1 else ""
    click.echo(f"test rows{of_first} ({ranking.settings['test_rows']}): {test}")
    ends = ranking.settings.get("branch_intervals", {})
    weights = ", ".join(
        f"{branch} {weight:z.2f}" + (" [{:z.2f}, {:z.2f}]".format(*ends[branch]) if branch in ends else "")
        for branch, weight in ranking.trusted_weights.items()
    )
    click.echo(f"branch weights: {weights}\n" if weights else "")
    added = sum_sentence(ranking.settings)
    if added is not None:
        error = ranking.settings.get("error")
        off = "" if error is None else f"; the game's sampling error is ±{error:.1%} of the latter"
        click.echo(f"{added}{off}\n")
    if ranking.settings.get("formula") == "last in":
        why = "the game of so many columns and rows would take long, or was not asked for"
        click.echo(f"the score is permutation importance: what is lost without each column (last in); {why}\n")
    scope = scope_sentence(ranking).replace("\u00a0", " ") if ranking.low is not None else None
    for said in (scope, probe_sentence(ranking), *redundancy(ranking)):
        if said is not None:
            click.echo(f"{said}\n")
    if ranking.pending:
        click.echo(
            f"the time limit left out {len(ranking.pending)} of {len(ranking.features)} features; they rank last, with"
            " measured = False in ranking.csv\n"
        )
    agreement = ranking.settings.get("agreement", {})
    if "end_to_end" in agreement:
        click.echo(f"agreement with permutation (last in): Spearman {agreement['end_to_end']:.2f}\n")
    shown = ["feature", "score", "low", "high", *ranking.components, "conditional_p", "conditional_q"]
    columns = [name for name in shown if name in ranking.table]
    if "conditional_p" in columns:
        click.echo(
            "conditional_p tests whether the column adds information about the target beyond the other columns;"
            " conditional_q is adjusted for the number of columns (Benjamini-Hochberg)\n"
        )
    click.echo(ranking.table[columns].head(SHOWN).to_string(index=False, float_format=lambda value: f"{value:.4g}"))


def show_evaluation(evaluation: RankingEvaluation) -> None:
    """Print the rankings by place, and where the one tested is beaten."""
    click.echo("\nrankings, best first:\n")
    click.echo(evaluation.summary.to_string(index=False, float_format=lambda value: f"{value:.3f}"))
    if evaluation.losses:
        click.echo(f"\nwhere {evaluation.tested} is worse than another ranking:")
        click.echo("\n".join(f"  {line}" for line in evaluation.losses))
    if evaluation.left_out:
        click.echo(
            f"\nthe time limit left out {len(evaluation.left_out)} steps: {', '.join(evaluation.left_out[:3])}, ..."
        )


def show_study(result: TuneResult, n_trials: int) -> None:
    """Print trials, the best settings and their ranking."""
    from permgrad.tuning.constraints import is_feasible

    states = result.trials["state"].value_counts()
    finished = int(states.get("complete", 0) + states.get("pruned", 0))
    counts = ", ".join(f"{n} {state}" for state, n in states.items())
    beyond = sum(not is_feasible(trial) for trial in result.study.get_trials(deepcopy=False))
    counts += f"; {beyond} beyond the constraints" if beyond else ""
    click.echo(
        f"\n{finished} of {n_trials} trials finished ({counts}); pruning saved about {result.epochs_saved} epochs"
    )
    for trial in result.best_trials:
        values = ", ".join(f"{name} {value:.5g}" for name, value in zip(result.metrics, trial.values, strict=True))
        click.echo(f"trial {trial.number}: validation {values}")
    params = ", ".join(f"{name} {_short(value)}" for name, value in result.best_params.items())
    click.echo(f"best: {params}")
    if result.ranking is not None:
        show_ranking(result.ranking)
    place = os.path.relpath(result.directory)
    ranked = "" if result.ranking is None else "ranking.csv, model/, "
    click.echo(f"\nresults in {place}/: tuning.json, trials.csv, {ranked}pictures")
    click.echo(f"to look at the study: permgrad dashboard {place}")


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
