"""What the published network leaves open, compared by cross-validation on the rows that are not test rows.

    python -m studies.breast_cancer.choices --out results/breast_cancer_choices

Every choice of scaling, batch size and class weights is trained on folds of the training and validation rows of both
pools; the table, sorted by the loss, says how many rows each gets wrong. Beside it stands what the one split's test
rows, which choose nothing, say of the same choices: the medians over seeds. Stopped and started again, it goes on.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import log_loss

import permgrad as pg
from studies.breast_cancer import study
from studies.breast_cancer.study import BreastCancer
from studies.breast_cancer.tables import Parts
from studies.kit import Study, Workspace
from studies.kit.workspace import Apart, Step

CHOICES = {"scaling": ("standard", "power"), "batch_size": (16, 32, 64, 128), "class_weight": (None, "balanced")}


def known_rows(parts: Parts) -> pg.Table:
    """Return the training and validation rows of a pool together."""
    known = (parts["train"], parts["validation"])
    X, y = (pd.concat([getattr(rows, name) for rows in known], ignore_index=True) for name in ("X", "y"))
    return pg.Table(X, y, name=known[0].name)


def fit(rows: pg.Table, settings: BreastCancer, choice: dict[str, Any], random_state: int) -> pg.MLPClassifier:
    """Train the study's network, but for the choice."""
    model = pg.MLPClassifier(**{**settings.network.model_dump(), **choice}, random_state=random_state)
    return model.fit(rows.X, rows.y)


def errors(table: pg.Table, settings: BreastCancer, choice: dict[str, Any]) -> dict[str, float]:
    """Return the rows of each class that a choice gets wrong, per run through all folds, and its loss."""
    cv = settings.cross_validation
    missed, alarms, losses = 0, 0, []
    for random_state, (train, test) in enumerate(cv.splitter().split(table.X, table.y)):
        rest, model = table.take(test), fit(table.take(train), settings, choice, random_state)
        positive = (rest.y == settings.positive).to_numpy()
        probabilities = model.predict_proba(rest.X)
        called = model.predict(rest.X) == settings.positive
        missed += int((positive & ~called).sum())
        alarms += int((~positive & called).sum())
        losses.append(log_loss(rest.y, probabilities, labels=model.classes_))
    return {"missed": missed / cv.repeats, "false alarms": alarms / cv.repeats, "loss": float(np.mean(losses))}


def on_the_split(parts: Parts, settings: BreastCancer, choice: dict[str, Any]) -> dict[str, float]:
    """Return the medians over seeds of a choice's accuracy and recall on the test rows of the one split."""
    scorers = [pg.get_scorer(name) for name in ("accuracy", f"recall[{settings.positive}]")]
    test, scores = parts["test"], []
    for random_state in settings.seeds:
        model = fit(parts["train"], settings, choice, random_state)
        scores.append([scorer(model, test.X, test.y) for scorer in scorers])
    return dict(zip(("test accuracy", "test recall"), np.median(scores, axis=0).tolist(), strict=True))


def evaluate(parts: Parts, settings: BreastCancer, choice: dict[str, Any]) -> dict[str, float]:
    """Return what cross-validation, and then the one split, say of a choice."""
    return {**errors(known_rows(parts), settings, choice), **on_the_split(parts, settings, choice)}


def run(settings: BreastCancer, workspace: Workspace) -> pd.DataFrame:
    """Train every choice on both pools; return one row for each choice and pool."""
    pools = study.load_pools(settings, workspace.out)
    study.check_same(settings, pools, workspace)
    choices = [dict(zip(CHOICES, values, strict=True)) for values in product(*CHOICES.values())]
    labels = {f"{pool}_{'_'.join(map(str, each.values()))}": (pool, each) for pool in pools for each in choices}
    steps: dict[str, Step] = {
        label: Apart(evaluate, pools[pool], settings, choice) for label, (pool, choice) in labels.items()
    }
    rows = [
        {"pool": labels[label][0], **{name: str(value) for name, value in labels[label][1].items()}, **scores}
        for label, scores in workspace.run(steps).items()
    ]
    return pd.DataFrame(rows)


def side_by_side(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each choice, the lowest mean loss first, with both pools' wrong rows and test scores."""
    rows = rows.assign(wrong=rows["missed"] + rows["false alarms"])
    table = rows.pivot(index=list(CHOICES), columns="pool")
    shown = {"loss": table["loss"].mean(axis=1)}
    for pool in rows["pool"].unique():
        shown |= {f"{pool} {name}": table[name, pool] for name in ("wrong", "test accuracy", "test recall")}
    return pd.DataFrame(shown).sort_values("loss").reset_index()


STUDY = Study(
    name="breast_cancer_choices",
    directory=Path(__file__).parent,
    template="choices.md.j2",
    help="Compare what the published network leaves open: scaling, batch size, class weights.",
    settings=BreastCancer,
    fast=study.FAST,
    fast_help="Few seeds and folds: a look.",
    run=run,
    tables=lambda settings, rows: {"choices": side_by_side(rows)},
    pictures=lambda settings, rows, tables: {},
)

if __name__ == "__main__":
    STUDY.command()()
