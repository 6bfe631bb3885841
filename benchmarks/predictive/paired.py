"""Differences between models on the same splits, with intervals: is one better, or is it noise."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import t as student

import permgrad as pg
from benchmarks.predictive.scores import comparable, row
from permgrad.metrics.paired import LEVEL, mean_and_error

TEST_SHARE = 20 / (20 + 60)
"""Test rows among those that a split trains or tests on; the other 20 % of the table's rows decide when to stop."""
SIGNS = {"score": 1, "loss": -1}
"""Of a difference that is for the better."""


def differences(figures: pd.DataFrame, against: str, figure: str = "score") -> pd.DataFrame:
    """Return by how much each model's figure exceeds that of `against`, on each table.

    Parameters
    ----------
    figures : DataFrame
        One row a fit: ``table``, ``model``, ``split`` and the figure.
    against : str
        One of the models.
    figure : {"score", "loss"}

    Returns
    -------
    DataFrame
        One row for each table and other model: ``table``, ``model``, ``splits``, ``difference`` (mean over the splits
        that all models have), and ``low`` and ``high``, the ends of its 95 % interval by `permgrad.compare_models`.
        Tables with fewer than two such splits are left out.
    """
    found = []
    for table, of in comparable(figures).groupby("table", sort=False):
        wide = of.pivot_table(figure, "split", "model", sort=False)
        if len(wide) < 2 or against not in wide:
            continue
        pairs = [(model, against) for model in wide if model != against]
        compared = pg.compare_models({name: wide[name] for name in wide}, test_share=TEST_SHARE, pairs=pairs)
        found.append(compared.pairs.rename(columns={"first": "model"}).assign(table=table, splits=len(wide)))
    columns = ["table", "model", "splits", "difference", "low", "high"]
    return pd.concat(found, ignore_index=True)[columns] if found else pd.DataFrame(columns=columns)


def over_tables(found: pd.DataFrame, sign: int = 1) -> pd.DataFrame:
    """Say what `differences` come to over all tables, each of which counts alike.

    Parameters
    ----------
    found : DataFrame
    sign : {1, -1}
        Of a difference that is for the better.

    Returns
    -------
    DataFrame
        One row a model: the mean ``difference`` over tables and its 95 % interval, ``low`` to ``high`` (Student's t
        over tables; NaN for one table); on how many tables the model is ``better`` or ``worse``, and on how many
        of these the table's own interval leaves out 0: ``clearly better``, ``clearly worse``.
    """
    rows = []
    for model, of in found.groupby("model", sort=False):
        values = of["difference"].to_numpy()
        mean, margin = _mean_and_margin(values)
        above, below = ("better", "worse")[::sign]
        rows.append(
            {
                "model": model,
                "difference": mean,
                "low": mean - margin,
                "high": mean + margin,
                above: int((values > 0).sum()),
                below: int((values < 0).sum()),
                f"clearly {above}": int((of["low"] > 0).sum()),
                f"clearly {below}": int((of["high"] < 0).sum()),
            }
        )
    return pd.DataFrame(rows)


def paired_report(figures: pd.DataFrame, against: str) -> str:
    """Return two Markdown tables, of the score and of the loss: a row for each table and a column for each model."""
    return "\n\n".join(_paired_table(figures, against, figure) for figure in SIGNS)


def _paired_table(figures: pd.DataFrame, against: str, figure: str) -> str:
    found = differences(figures, against, figure)
    if found.empty:
        return f"No differences of the {figure}: no table has two splits that all models share."
    models = list(dict.fromkeys(found["model"]))
    levels = comparable(figures).query("model == @against").groupby("table")[figure].mean()
    lines = [row(f"{figure}, and differences from it", "splits", against, *models), row(*["---"] * (3 + len(models)))]
    for table, of in found.groupby("table", sort=False):
        cells = of.set_index("model").loc[models].apply(with_interval, axis=1)
        lines.append(row(table, of["splits"].iloc[0], f"{levels[table]:.4f}", *cells))
    total = over_tables(found, SIGNS[figure]).set_index("model").loc[models]
    if figure == "score":  # losses of different tables have different units
        n_tables = found["table"].nunique()
        lines.append(row(f"**mean of {n_tables} tables**", "", "", *total.apply(with_interval, axis=1)))
    for kind in ("", "clearly "):
        counts = [f"{better} / {worse}" for better, worse in total[[f"{kind}better", f"{kind}worse"]].to_numpy()]
        lines.append(row(f"**tables {kind}better / worse**", "", "", *counts))
    return "\n".join([*lines, "", "Clearly: the 95 % interval leaves out 0."])


def with_interval(of: pd.Series) -> str:
    """Return a row of `differences` or `over_tables` as text."""
    return f"{of['difference']:+.4f} [{of['low']:+.4f}, {of['high']:+.4f}]"


def gains(figures: pd.DataFrame, whole: str) -> pd.DataFrame:
    """Say what each setting is worth: how much worse a model is that differs from `whole` by it.

    Both are compared on the same splits, and a table's score and loss are means over these. The interval is Student's,
    over tables: splits of one table share rows, so they are no independent trials.

    Parameters
    ----------
    figures : DataFrame
        A row for each fit: ``table``, ``split``, ``model``, ``score``, ``loss``.
    whole : str
        The model that has all settings; the others' names begin with it.

    Returns
    -------
    DataFrame
        For each of the others: by how much the score of `whole` is higher, and by what share its loss is lower (1 - its
        loss / the other's, as units differ), means over tables and half the widths of their 95 % intervals; on how many
        ``tables`` its loss is lower; and how many fits of each are compared.
    """
    fits = figures.set_index(["table", "split"])
    of_whole, lines = fits[fits["model"] == whole], {}
    for model, of in fits.groupby("model", sort=False):
        setting = str(model).removeprefix(f"{whole} ")
        if setting == model:
            continue
        pairs = of_whole.join(of, how="inner", rsuffix=" without")
        means = pairs.groupby("table")[["score", "score without", "loss", "loss without"]].mean()
        score, loss = means["score"] - means["score without"], 1 - means["loss"] / means["loss without"]
        of_score, of_loss = (_mean_and_margin(gain.to_numpy()) for gain in (score, loss))
        lines[setting] = {
            **dict(zip(("score", "score ±"), of_score, strict=True)),
            **dict(zip(("loss", "loss ±"), of_loss, strict=True)),
            "lower": int((loss > 0).sum()),
            "tables": len(means),
            "fits": len(pairs),
        }
    return pd.DataFrame.from_dict(lines, orient="index")


def _mean_and_margin(values: np.ndarray) -> tuple[float, float]:
    """Return the mean of values, one a table, and half the width of its 95 % interval (Student's t; NaN for one)."""
    mean, error, n = mean_and_error(values)
    return mean, float(student.ppf((1 + LEVEL) / 2, n - 1)) * error


def gains_report(figures: pd.DataFrame, whole: str) -> str:
    """Return `gains` as a Markdown table."""
    lines = [row("instead", "score, gain", "log loss or RMSE, lower by", "lower on", "fits"), row(*["---"] * 5)]
    for setting, of in gains(figures, whole).iterrows():
        score, loss = f"{of['score']:+.4f} ± {of['score ±']:.4f}", f"{of['loss']:+.1%} ± {of['loss ±']:.1%}"
        lines.append(row(setting, score, loss, f"{of['lower']:.0f} of {of['tables']:.0f}", f"{of['fits']:.0f}"))
    return "\n".join(lines)
