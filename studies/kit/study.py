"""One study: its settings, what it runs, and how its results become a report and a command."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import click
import pandas as pd
from matplotlib.figure import Figure

from permgrad.errors import PermGradError
from permgrad.files import write_text
from permgrad.parallel import workers
from studies.kit.options import Preset, Setting
from studies.kit.settings import Settings, read_settings
from studies.kit.workspace import Workspace
from studies.kit.writing import Picture, Report, write_pictures, write_tables

S = TypeVar("S", bound=Settings)
R = TypeVar("R")
Tables = Mapping[str, pd.DataFrame]
Pictures = Mapping[str, Figure | Picture]


def _no_facts(settings: Any, results: Any, tables: Tables) -> dict[str, Any]:
    return {}


@dataclass(frozen=True)
class Study(Generic[S, R]):
    """A study.

    Attributes
    ----------
    name : str
    directory : Path
        Holds ``study.yaml``, the settings, and the report's template.
    help : str
        What the command says of itself.
    settings : type
        A `Settings` class.
    fast : sequence of str
        Changes of settings for a quick look.
    fast_help : str
    run : callable
        (settings, workspace, **own options) → results: does what is left of the study.
    tables : callable
        (settings, results) → data frames by name, each written as ``<name>.csv``.
    pictures : callable
        (settings, results, tables) → figures by name, each written as ``<name>.png``.
    facts : callable, optional
        (settings, results, tables) → what else the template names. It may always name ``settings``, ``results``,
        ``tables`` and ``pictures``.
    digits : int, optional
        Significant ones of floats in CSV files; None: all.
    datasets : callable, optional
        settings → names of the data sets that are studied one after the other, each with results and a report of its
        own in a directory of that name. `run` gets ``dataset``; the command gets ``--dataset``.
    template : str, default "report.md.j2"
    """

    name: str
    directory: Path
    help: str
    settings: type[S]
    fast: Sequence[str]
    fast_help: str
    run: Callable[..., R]
    tables: Callable[[S, R], Tables]
    pictures: Callable[[S, R, Tables], Pictures]
    facts: Callable[[S, R, Tables], Mapping[str, Any]] = _no_facts
    digits: int | None = None
    datasets: Callable[[S], Sequence[str]] | None = None
    template: str = "report.md.j2"

    def read(self, overrides: Iterable[str] = (), *, config: Path | None = None) -> S:
        """Return the settings of a YAML file, by default the study's own, with changes; see `read_settings`."""
        return read_settings(self.settings, config or self.directory / "study.yaml", overrides)

    def workspace(self, out: Path, report: Path | None = None, *, verbose: bool = False) -> Workspace:
        """Return where the study works; the report goes to `out` too if nothing else is said."""
        return Workspace(out, report or out, f"permgrad.study.{self.name}", verbose)

    def write_report(self, settings: S, results: R, directory: Path) -> Report:
        """Write all tables and pictures and ``report.md`` into `directory`, and return the report."""
        tables = self.tables(settings, results)
        write_tables(directory, tables, self.digits)
        pictures = self.pictures(settings, results, tables)
        write_pictures(directory, pictures)
        facts = self.facts(settings, results, tables)
        values = {"settings": settings, "results": results, "tables": tables, "pictures": list(pictures), **facts}
        report = Report(self.directory / self.template, **values)
        write_text(directory / "report.md", report.text())
        return report

    def command(self, *options: click.Option) -> click.Command:
        """Return the study's command: ``--config --set --fast --out --report``, and these options.

        Parameters
        ----------
        *options : click.Option
            A `Setting` or `Preset` changes the settings, presets before ``--fast``; the value of any other one goes to
            `run` by its name.
        """
        presets = [option for option in options if isinstance(option, Preset)]
        single = [option for option in options if isinstance(option, Setting)]
        changing = [*presets, Preset("--fast", self.fast, self.fast_help), *single]  # the later wins
        return click.Command(
            self.name,
            params=[*self._dataset_option(), *options, *self._common_options()],
            callback=lambda **given: self._main(changing, given),
            help=self.help,
            context_settings={"help_option_names": ["-h", "--help"]},
        )

    def _dataset_option(self) -> list[click.Option]:
        text = "One of the settings' data sets; may be given again; all."
        return [click.Option(["--dataset", "datasets"], multiple=True, help=text)] if self.datasets else []

    def _common_options(self) -> list[click.Option]:
        path, out = click.Path(path_type=Path), f"results/{self.name}"
        return [
            click.Option(["--config"], type=path, help="Settings (YAML)."),
            click.Option(["--set", "changes"], multiple=True, metavar="KEY=VALUE", help="Change a setting."),
            Preset("--fast", self.fast, self.fast_help),
            click.Option(["--out"], type=path, help=f"Where results go: {out}, or {out}_fast with --fast."),
            click.Option(["--report"], type=path, help="Where tables and pictures go; by default --out."),
            click.Option(["--workers"], type=int, help="Processes for trainings that need no other; by default none."),
        ]

    def _main(self, changing: Sequence[Setting | Preset], given: dict[str, Any]) -> None:
        config, changes, out, report = (given.pop(name) for name in ("config", "changes", "out", "report"))
        n_workers = given.pop("workers")
        out = out or Path("results", f"{self.name}_fast" if given["fast"] else self.name)
        overrides = [text for option in changing for text in option.overrides(given.pop(str(option.name)))]
        try:
            settings = self.read([*overrides, *changes], config=config)
            workspace = self.workspace(out, report, verbose=True)
            with workers(n_workers):
                if self.datasets is None:
                    self._run_and_report(settings, workspace, given)
                    return
                for name in self._chosen(settings, given.pop("datasets")):
                    self._run_and_report(settings, workspace.below(name), {"dataset": name, **given})
        except PermGradError as error:
            raise click.ClickException(str(error)) from error

    def _chosen(self, settings: S, wanted: Sequence[str]) -> Sequence[str]:
        known = self.datasets(settings) if self.datasets else ()
        unknown = [name for name in wanted if name not in known]
        if unknown:
            raise PermGradError(f"no data set {unknown[0]!r} among those of the settings: {', '.join(known)}")
        return wanted or known

    def _run_and_report(self, settings: S, workspace: Workspace, given: Mapping[str, Any]) -> None:
        with workspace.locked():
            results = self.run(settings, workspace, **given)
            summary = self.write_report(settings, results, workspace.report).summary()
        if summary:
            click.echo(summary)
        click.echo(f"{workspace.report}/report.md, and the tables and pictures that it is made of")
