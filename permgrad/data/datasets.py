"""Data sets by name: a card in ``datasets/`` → a `Table`, its file verified by SHA-256."""

from __future__ import annotations

import os
import shutil
import tarfile
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pooch
import sklearn.datasets

from permgrad.data.expression import read_expression
from permgrad.data.reading import read_csv
from permgrad.data.table import Table
from permgrad.directories import new_directory
from permgrad.errors import PermGradError, listing

CACHE = Path(pooch.os_cache("permgrad"))


def list_datasets() -> pd.DataFrame:
    """Return one row per data set: name, task, rows, features, title, source, licence.

    Examples
    --------
    >>> pg.list_datasets().columns.tolist()
    ['name', 'task', 'rows', 'features', 'title', 'source', 'license']
    >>> "iris" in pg.list_datasets()["name"].tolist()
    True
    """
    columns = ["task", "rows", "features", "title", "source", "license"]
    rows = [{"name": path.stem, **{key: _read_card(path)[key] for key in columns}} for path in _card_paths()]
    return pd.DataFrame(rows)


def load_dataset(name: str) -> Table:
    """Load a data set by its name, see `list_datasets`.

    Bundled tables come from scikit-learn. permgrad looks for the others in the directory that the
    environment variable ``PERMGRAD_DATA`` names, then in its cache; otherwise it downloads them.

    Returns
    -------
    Table
        Its ``notes`` hold title, source, licence, citation, and whether it is only a part of the original data.

    Raises
    ------
    PermGradError
        If there is no such data set, its file differs from the card's SHA-256, or cannot be downloaded.

    Examples
    --------
    >>> table = pg.load_dataset("iris")
    >>> table.X.shape, table.classes
    ((150, 4), ['setosa', 'versicolor', 'virginica'])
    """
    cards = {path.stem: path for path in _card_paths()}
    if name not in cards:
        raise PermGradError(f"no data set {name!r}; there are {listing(cards, 20)}")
    card = _read_card(cards[name])
    frame, target, note = _frame(name, card)
    X = frame.drop(columns=[target, *(column for column in card.get("drop", ()) if column in frame)])
    if "prefix" in card:
        X.columns = [f"{card['prefix']}{i}" for i in range(1, X.shape[1] + 1)]
    facts = {key: card[key] for key in ("title", "source", "homepage", "license", "citation")}
    notes = {**facts, **({"note": note} if note else {})}
    return Table(X, frame[target].rename(card["target"]), task=card["task"], name=name, notes=notes)


def _card_paths() -> list[Path]:
    package = Path(__file__).parent.parent
    installed, checkout = package / "cards", package.parent / "datasets"
    return sorted((installed if installed.is_dir() else checkout).glob("*.toml"))


def _read_card(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def _frame(name: str, card: dict[str, Any]) -> tuple[pd.DataFrame, str, str]:
    """Return the data as one frame, the name of its target column, and a note on what is missing."""
    if "bundled" in card:
        bunch = getattr(sklearn.datasets, card["bundled"])(as_frame=True)
        labels = bunch.get("target_names") if card["task"] == "classification" else None
        target = bunch.target if labels is None else pd.Series(labels[bunch.target], index=bunch.target.index)
        return bunch.data.assign(**{card["target"]: target}), card["target"], ""
    if "archive" in card:
        table = read_expression(_extracted(name, card), target=card["target"], verbose=True)
        return table.X.assign(**{card["target"]: table.y}), card["target"], ""
    for file in card.get("file", []):
        path = _local(file)
        if path is not None:
            return _read_csv(path, file), file.get("target", card["target"]), file.get("note", "")
    if "openml" in card:
        return _from_openml(name, card), card["target"], ""
    file = next(file for file in card["file"] if "url" in file)
    return _read_csv(_download(name, file, card), file), file.get("target", card["target"]), file.get("note", "")


def _local(file: dict[str, Any]) -> Path | None:
    """Return the file in ``PERMGRAD_DATA`` if it is there, verified."""
    directory = os.environ.get("PERMGRAD_DATA")
    path = Path(directory, file["name"]) if directory else None
    if path is None or not path.is_file():
        return None
    sha256 = pooch.file_hash(str(path))
    if sha256 != file["sha256"]:
        raise PermGradError(
            f"{path} is not the file that the card describes: expected SHA-256 {file['sha256']}, got {sha256};"
            " remove it, or read it by its path"
        )
    return path


def _download(name: str, file: dict[str, Any], card: dict[str, Any]) -> Path:
    try:
        path = pooch.retrieve(
            file["url"], known_hash=f"sha256:{file['sha256']}", path=CACHE, fname=file["name"], progressbar=True
        )
    except (OSError, ValueError) as error:  # no network, or another file than the card's
        raise _unavailable(name, file["name"], card, error) from error
    return Path(path)


def _extracted(name: str, card: dict[str, Any]) -> Path:
    """Return the directory of an archive's members; extracted once, whole or not at all."""
    file = card["archive"]
    directory = CACHE / f"{name}-{file['sha256'][:12]}"
    if not directory.is_dir():
        archive = _local(file) or _download(name, file, card)
        with new_directory(directory) as staging, tarfile.open(archive) as tar:
            for member in file["members"]:
                content = tar.extractfile(member)
                if content is None:
                    raise PermGradError(f"{archive}: {member} is not a file")
                with (staging / Path(member).name).open("wb") as copy:
                    shutil.copyfileobj(content, copy)
    return directory


def _from_openml(name: str, card: dict[str, Any]) -> pd.DataFrame:
    try:
        frame = sklearn.datasets.fetch_openml(data_id=card["openml"], as_frame=True, data_home=CACHE).frame
    except (OSError, ValueError) as error:
        raise _unavailable(name, card["file"][0]["name"], card, error) from error
    _check_against_card(name, frame, card)
    return frame.assign(**{card["target"]: frame[card["target"]].astype(str).astype(int)})


def _check_against_card(name: str, frame: pd.DataFrame, card: dict[str, Any]) -> None:
    """Raise unless a table has the size and the classes that its card names."""
    found: dict[str, Any] = {"rows": len(frame), "columns": frame.shape[1] - 1}
    expected: dict[str, Any] = {"rows": card["rows"], "columns": card["features"]}
    if "classes" in card:
        found["classes"] = dict(sorted(Counter(frame[card["target"]].astype(str)).items()))
        expected["classes"] = card["classes"]
    if found != expected:
        raise PermGradError(f"the download of {name!r} is not what its card describes: {found}, not {expected}")


def _unavailable(name: str, file_name: str, card: dict[str, Any], error: Exception) -> PermGradError:
    reason = error if isinstance(error, ValueError) else "no connection"  # a connection's own text fills a page
    return PermGradError(
        f"cannot download data set {name!r} ({reason}); get it from {card['homepage']} and read it by its path,"
        f" or set PERMGRAD_DATA to a directory that holds {file_name}"
    )


def _read_csv(path: Path, file: dict[str, Any]) -> pd.DataFrame:
    names = file.get("columns")
    return read_csv(path, names=names, header=None if names else "infer")
