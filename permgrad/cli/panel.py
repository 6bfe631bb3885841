"""``permgrad panel``: choose the few columns that suffice, from cells in one or several files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from permgrad.data.cells import Cells

TRAINING: dict[str, Any] = {"batch_size": 128, "learning_rate": 2e-3}
"""As in the study of panels: the defaults of `SelectorClassifier` are for a hundred thousand cells."""
ALPHA = {"stochastic": 3e-3, "free": 0.1, "clamped": 0.1}
CAPS = (4000, 1000)
"""At most this many cells of a class choose the panel, and at most this many score it; rarer classes are split 4:1."""


class Names(click.ParamType):
    """Names separated by commas, or a file with one name per line."""

    name = "NAMES|FILE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Return the names."""
        if isinstance(value, tuple):
            return value
        path = Path(value)
        found = path.read_text(encoding="utf-8").splitlines() if path.is_file() else value.split(",")
        names = tuple(name.strip() for name in found if name.strip())
        if not names:
            said = f"expected names with commas between them, or a file with one name on each line, got {value!r}"
            self.fail(said, param, ctx)
        return names


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--target", required=True, help="Column of obs with the classes.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Directory for the panel.")
@click.option("--k", type=click.IntRange(1), default=100, show_default=True, help="Columns of the panel.")
@click.option("--include", type=Names(), default=(), help="Columns that must be in the panel, such as an existing one.")
@click.option("--exclude", type=Names(), default=(), help="Columns that must not be in the panel.")
@click.option(
    "--redundancy", type=click.FloatRange(0, 1, min_open=True), help="Largest correlation between two columns."
)
@click.option(
    "--expression-range",
    nargs=2,
    type=float,
    metavar="LOW HIGH",
    help="Lowest and highest mean of a column, in the class where that mean is highest.",
)
@click.option("--counts", is_flag=True, help="The values are counts: use logarithms of counts per 10,000.")
@click.option("--genes", type=click.IntRange(2), help="Choose among this many highly variable columns of each file.")
@click.option(
    "--selector", type=click.Choice(list(ALPHA)), default="stochastic", show_default=True, help="How columns compete."
)
@click.option("--alpha", type=click.FloatRange(0), help="Factor of the penalty.")
@click.option("--steps", type=click.IntRange(1), default=1000, show_default=True, help="Batches per training.")
@click.option("--n-trainings", type=click.IntRange(2), default=10, show_default=True, help="Trainings on each file.")
@click.option("--random-state", type=click.IntRange(0), default=0, show_default=True)
@click.option("--overwrite", is_flag=True, help="Replace an existing directory, if it holds nothing else.")
def panel(files: tuple[Path, ...], out: Path, overwrite: bool, **given: Any) -> None:
    """Choose a panel: the few columns that suffice to tell the classes of cells.

    FILES are AnnData files (.h5ad), one data set each; several files give one panel. Four fifths of the cells choose
    the panel. It is scored on the others: by networks trained on its columns alone, and by how much of the variation of
    all columns it keeps.
    """
    import permgrad as pg
    from permgrad.directories import new_directory
    from permgrad.files import write_text

    train, test = _read(files, given)
    alpha = ALPHA[given["selector"]] if given["alpha"] is None else given["alpha"]
    shared: dict[str, Any] = {**TRAINING, "steps": given["steps"], "random_state": given["random_state"]}
    model = pg.SelectorClassifier(selector=given["selector"], alpha=alpha, start="ones", **shared)
    with new_directory(out, overwrite=overwrite) as staging:
        names = ("k", "n_trainings", "include", "exclude", "redundancy", "expression_range")
        asked = {name: given[name] for name in names}
        asked["exclude"] = [name for name in given["exclude"] if name in train[0].features]  # others are out anyway
        found = pg.choose_panel(model, train, verbose=True, **asked)
        write_text(staging / "panel.csv", found.table.to_csv(index=False))
        write_text(staging / "panel.txt", "\n".join(found.features) + "\n")
        click.echo(found)
        plain = pg.SelectorClassifier(selector="none", **shared)
        for file, ours, others in zip(files, train, test, strict=True):
            click.echo(f"{file.name}: mean per-class accuracy {pg.score_panel(plain, found, ours, others)}")
            click.echo(f"  {pg.panel_variation(found, ours, others)}")
    click.echo(f"panel.txt (one column per line) and panel.csv in {out}/")


def _read(files: tuple[Path, ...], given: dict[str, Any]) -> tuple[list[Cells], list[Cells]]:
    """Return, for each file, the cells that choose and the cells that score, with the columns to choose from.

    Rows stay in their file until it is known which columns are wanted: those alone are brought into memory.
    """
    import permgrad as pg
    from permgrad.data.cells import is_by_column
    from permgrad.data.checks import check_named
    from permgrad.data.preprocessing import log_normalise, variable_genes
    from permgrad.errors import PermGradError

    parts = []
    for file in files:
        cells = pg.read_cells(file, given["target"], on_disk=not is_by_column(file))
        cells = log_normalise(cells) if given["counts"] else cells
        parts.append([cells.take(rows) for rows in pg.capped_split(cells.y, CAPS, random_state=given["random_state"])])
    check_named(given["exclude"], {name for train, _ in parts for name in train.features}, "exclude")
    known = [{*train.features} for train, _ in parts]
    shared = [name for name in parts[0][0].features if all(name in names for names in known)]
    if given["genes"] is not None:
        varies = set().union(*(variable_genes(train.only(shared), given["genes"]) for train, _ in parts))
        shared = [name for name in shared if name in varies or name in given["include"]]
    if not shared:
        raise PermGradError("the files have no columns in common")
    train, test = ([each[part].only(shared).in_memory() for each in parts] for part in (0, 1))
    return train, test
