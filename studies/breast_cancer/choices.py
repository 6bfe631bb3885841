"""What the published network leaves open, compared by cross-validation on the rows that are not test rows.

    python studies/breast_cancer_choices.py --out results/breast_cancer_choices

Every choice of scaling, batch size and class weights is trained on folds of the training and validation rows of both
pools; the table, sorted by the loss, says how many rows each gets wrong. Beside it stands what the one split's test
rows, which choose nothing, say of the same choices: the medians over seeds. Stopped and started again, it goes on.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
from sklearn.metrics import log_loss
from sklearn.model_selection import RepeatedStratifiedKFold
from tqdm.auto import tqdm

import permgrad as pg
from studies.kit.markdown import markdown
from studies.kit.settings import read_settings
from studies.kit.steps import cached_step

if __package__:
    from studies.breast_cancer import study as study
else:  # run as a script: its own directory is what Python looks in
    import breast_cancer as study

CHOICES = {"scaling": ("standard", "power"), "batch_size": (16, 32, 64, 128), "class_weight": (None, "balanced")}


def known_rows(parts: study.Parts) -> pg.Table:
    """Return the training and validation rows of a pool together."""
    known = (parts["train"], parts["validation"])
    X, y = (pd.concat([getattr(rows, name) for rows in known], ignore_index=True) for name in ("X", "y"))
    return pg.Table(X, y, name=known[0].name)


def fit(rows: pg.Table, settings: study.Study, choice: dict[str, Any], random_state: int) -> pg.MLPClassifier:
    """Train the study's network, but for the choice."""
    return pg.MLPClassifier(**{**settings.network.model_dump(), **choice}, random_state=random_state).fit(
        rows.X, rows.y
    )


def errors(table: pg.Table, settings: study.Study, choice: dict[str, Any]) -> dict[str, float]:
    """Return the rows of each class that a choice gets wrong, per run through all folds, and its loss."""
    cv = settings.cross_validation
    folds = RepeatedStratifiedKFold(n_splits=cv.folds, n_repeats=cv.repeats, random_state=cv.random_state)
    missed, alarms, losses = 0, 0, []
    for random_state, (train, test) in enumerate(folds.split(table.X, table.y)):
        rest, model = table.take(test), fit(table.take(train), settings, choice, random_state)
        positive = (rest.y == settings.positive).to_numpy()
        probabilities = model.predict_proba(rest.X)
        called = model.predict(rest.X) == settings.positive
        missed += int((positive & ~called).sum())
        alarms += int((~positive & called).sum())
        losses.append(log_loss(rest.y, probabilities, labels=model.classes_))
    return {"missed": missed / cv.repeats, "false alarms": alarms / cv.repeats, "loss": float(np.mean(losses))}


def on_the_split(parts: study.Parts, settings: study.Study, choice: dict[str, Any]) -> dict[str, float]:
    """Return the medians over seeds of a choice's accuracy and recall on the test rows of the one split."""
    scorers = [pg.get_scorer(name) for name in ("accuracy", f"recall[{settings.positive}]")]
    test, published = parts["test"], settings.published
    found = []
    for random_state in range(published.first_seed, published.first_seed + published.seeds):
        model = fit(parts["train"], settings, choice, random_state)
        found.append([scorer(model, test.X, test.y) for scorer in scorers])
    return dict(zip(("test accuracy", "test recall"), np.median(found, axis=0).tolist(), strict=True))


def evaluate_network(parts: study.Parts, settings: study.Study, choice: dict[str, Any]) -> dict[str, Any]:
    """Return what cross-validation, and then the one split, say of a choice."""
    return {"found": {**errors(known_rows(parts), settings, choice), **on_the_split(parts, settings, choice)}}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", type=click.Path(path_type=Path), default=study.HERE / "study.yaml")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting of the study.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("results/breast_cancer_choices"))
def main(config: Path, overrides: tuple[str, ...], out: Path) -> None:
    """Compare what the published network leaves open: scaling, batch size, class weights."""
    try:
        settings = read_settings(study.Study, config, overrides)
        pools = study.load_pools(settings, out)
        study.check_same(settings, pools, out)
        rows = []
        for pool, *values in tqdm(list(product(pools, *CHOICES.values())), desc="choices", unit="choice"):
            choice = dict(zip(CHOICES, values, strict=True))
            path, parts = out / "units" / f"{'_'.join(map(str, (pool, *values)))}.json", pools[pool]
            unit = cached_step(
                path, study.KIND, lambda parts=parts, choice=choice: evaluate_network(parts, settings, choice)
            )
            rows.append({"pool": pool, **{name: str(value) for name, value in choice.items()}, **unit["found"]})
    except pg.PermGradError as error:
        raise click.ClickException(str(error)) from error
    click.echo(markdown(side_by_side(pd.DataFrame(rows)), 3))


def side_by_side(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each choice, the lowest mean loss first, with both pools' wrong rows and test scores."""
    rows = rows.assign(wrong=rows["missed"] + rows["false alarms"])
    table = rows.pivot(index=list(CHOICES), columns="pool")
    shown = {"loss": table["loss"].mean(axis=1)}
    for pool in rows["pool"].unique():
        shown |= {f"{pool} {name}": table[name, pool] for name in ("wrong", "test accuracy", "test recall")}
    return pd.DataFrame(shown).sort_values("loss").reset_index()


if __name__ == "__main__":
    main()
