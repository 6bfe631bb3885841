"""What the published network leaves open, chosen by cross-validation on the rows that are not test rows.

    python studies/breast_cancer_choices.py --out results/breast_cancer_choices

Every choice of scaling, batch size and class weights is trained on folds of the training and validation rows of both
pools; the table says how many rows each got wrong, of which class, and the loss. The lowest loss, the mean of both
pools, is what breast_cancer.yaml has. Stopped and started again, it goes on.
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

if __package__:
    from studies import breast_cancer as study
    from studies.breast_cancer_report import markdown
else:  # run as a script: its own directory is what Python looks in
    import breast_cancer as study
    from breast_cancer_report import markdown

CHOICES = {"scaling": ("standard", "power"), "batch_size": (16, 32, 64, 128), "class_weight": (None, "balanced")}


def known_rows(parts: study.Parts) -> pg.Table:
    """Return the training and validation rows of a pool together."""
    known = (parts["train"], parts["validation"])
    X, y = (pd.concat([getattr(rows, name) for rows in known], ignore_index=True) for name in ("X", "y"))
    return pg.Table(X, y, name=known[0].name)


def errors(table: pg.Table, settings: study.Study, choice: dict[str, Any]) -> dict[str, float]:
    """Return the rows of each class that a choice gets wrong, per run through all folds, and its loss."""
    cv = settings.cross_validation
    folds = RepeatedStratifiedKFold(n_splits=cv.folds, n_repeats=cv.repeats, random_state=cv.seed)
    missed, alarms, losses = 0, 0, []
    for seed, (train, test) in enumerate(folds.split(table.X, table.y)):
        fitted, judged = table.take(train), table.take(test)
        model = pg.MLPClassifier(**{**settings.network.model_dump(), **choice}, seed=seed).fit(fitted.X, fitted.y)
        positive = (judged.y == settings.positive).to_numpy()
        probabilities = model.predict_proba(judged.X)
        called = model.predict(judged.X) == settings.positive
        missed += int((positive & ~called).sum())
        alarms += int((~positive & called).sum())
        losses.append(log_loss(judged.y, probabilities, labels=model.classes_))
    return {"missed": missed / cv.repeats, "false alarms": alarms / cv.repeats, "loss": float(np.mean(losses))}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config", type=click.Path(path_type=Path), default=study.HERE / "breast_cancer.yaml", show_default=False
)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting of the study.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("results/breast_cancer_choices"))
def main(config: Path, overrides: tuple[str, ...], out: Path) -> None:
    """Compare what the published network leaves open, without the test rows."""
    try:
        settings = pg.read_settings(study.Study, config, overrides)
        pools = {name: known_rows(parts) for name, parts in study.load_pools(settings, out).items()}
        study.check_same_study(settings, study.load_pools(settings, out), out)
        steps = list(product(pools, *CHOICES.values()))
        rows = []
        for pool, *values in tqdm(steps, desc="choices", unit="choice"):
            choice = dict(zip(CHOICES, values, strict=True))
            path = out / "units" / f"{'_'.join(map(str, (pool, *values)))}.json"
            found = study.kept(path, lambda pool=pool, choice=choice: errors(pools[pool], settings, choice))
            shown = {name: str(value) for name, value in choice.items()}
            rows.append({"pool": pool, **shown, **{key: found[key] for key in ("missed", "false alarms", "loss")}})
    except pg.PermGradError as error:
        raise click.ClickException(str(error)) from error
    table = pd.DataFrame(rows).pivot_table(index=list(CHOICES), columns="pool", sort=False)
    table.columns = [f"{pool} {name}" for name, pool in table.columns]
    table["mean loss"] = table[["raw loss", "engineered loss"]].mean(axis=1)
    click.echo(markdown(table.sort_values("mean loss").reset_index(), 3))


if __name__ == "__main__":
    main()
