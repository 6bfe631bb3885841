"""Which patches of a directory can be used: every file is read once, and everything that is wrong is listed."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from permgrad.errors import FileFormatError, PermGradError, listing, reading
from permgrad.patches.files import Patches, quiet_opencv, read_patch
from permgrad.patches.ids import KINDS_OF_GROUP, group_of_id

SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp")
LABELS = "train_labels.csv"
LEFT_OUT, KEPT_ONCE, LISTED = "left out", "kept once", "listed, and kept"
NO_LABEL = "no label of 0 or 1"
PRIOR = "predicted as the share of positives"
"""A test patch that cannot be read needs its row in a submission all the same."""


@dataclass(frozen=True, eq=False)
class PatchCheck:
    """The usable patches of a directory, and all problems found; `check_patches` returns it.

    Attributes
    ----------
    train : Patches
        All that have a readable file and one label, sorted by file name.
    test : Patches or None
        All readable ones, without labels, sorted by file name; None if there is no test directory.
    test_ids : tuple of str
        Ids of all test files, also of those that cannot be read, sorted by file name.
    problems : DataFrame
        One row for each: ``where`` ("labels", "train" or "test"), ``kind``, ``id``, ``detail``, and ``consequence``:
        what follows from it.
    pixels : ndarray of shape (2, 3, 256), int64
        How often each value occurs, by label (0, 1) and channel (red, green, blue), over all labelled files.
    shapes : DataFrame
        ``where``, ``shape``, how many ``files`` have it, and the ``lowest`` and ``highest`` value in them.
    sha256 : str
        Over ids, labels and pixels of `train`: equal patches, equal hash.
    test_sha256 : str
        Over ids and pixels of `test`.

    Examples
    --------
    >>> check = pg.check_patches("patches")
    >>> len(check.train), len(check.problems), check.pixels.shape
    (24, 0, (2, 3, 256))
    """

    train: Patches
    test: Patches | None
    test_ids: tuple[str, ...]
    problems: pd.DataFrame
    pixels: np.ndarray
    shapes: pd.DataFrame
    sha256: str
    test_sha256: str

    @property
    def classes(self) -> pd.DataFrame:
        """Number and share of each label among the patches that are used: ``label``, ``patches``, ``share``."""
        counts = np.bincount(self.train.y, minlength=2)  # type: ignore[arg-type]
        return pd.DataFrame({"label": [0, 1], "patches": counts, "share": counts / counts.sum()})

    def __str__(self) -> str:
        height, width = self.train.shape[:2]
        tests = "no test directory" if self.test is None else f"{len(self.test_ids):,} to predict"
        kinds = Counter(zip(self.problems["where"], self.problems["kind"], strict=True))
        problems = "; ".join(f"{n:,} × {kind} ({where})" for (where, kind), n in kinds.items())
        return (
            f"{len(self.train):,} labelled patches of {height} × {width} pixels, {self.classes['share'][1]:.1%}"
            f" positive; {tests}; {problems or 'nothing is wrong with them'}"
        )


def check_patches(
    directory: str | Path,
    *,
    groups: str | Path | None = None,
    strict: bool = False,
    at_most: int | None = None,
    random_state: int = 0,
    workers: int | None = None,
    verbose: bool = False,
) -> PatchCheck:
    """Read all patches of a directory with the layout of Kaggle's competition, and find those that can be used.

    Parameters
    ----------
    directory : path
        With ``train_labels.csv`` (columns ``id`` and ``label``, 0 or 1), ``train/<id>.tif`` and, optionally,
        ``test/<id>.tif``. PNG, JPEG and BMP files will do as well.
    groups : path, "slide" or "patient", optional
        Of a CSV file with the columns ``id`` and ``group``: each patch's slide or patient, which `Patches.split` keeps
        on one side. Or what to read from ids that name it, see `group_of_id`. A patch without one is left out.
    strict : bool
        Raise an error if anything has to be left out.
    at_most : int, optional
        Read only so many of the labelled files, drawn at random, each label's share kept.
    random_state : int
        Of that draw.
    workers : int, optional
        Number of files to read in parallel; by default one per core.
    verbose : bool
        Show a progress bar.

    Returns
    -------
    PatchCheck
        Left out are: labels that are missing, or neither 0 nor 1; ids without a file, files without a label; files
        that cannot be read, or are of another shape than most. An id or an image that comes twice is kept once, and
        not at all if its labels differ. Images of one colour, and test images that are labelled ones too, are listed
        and kept.

    Raises
    ------
    PermGradError
        If the layout is another one, or what can be used is not of both classes; with `strict`, if anything has to be
        left out.

    Examples
    --------
    >>> check = pg.check_patches("patches")
    >>> check.train.shape, len(check.test)
    ((32, 32, 3), 4)
    """
    directory, problems = Path(directory), _Problems()
    labels = _read_labels(directory / LABELS, problems)
    files = _list_files(directory / "train", "train", problems)
    has_test = (directory / "test").is_dir()
    test_files = _list_files(directory / "test", "test", problems) if has_test else {}
    pixels = np.zeros((2, 3, 256), np.int64)
    labelled = _match(labels, files, problems)
    group_of = None if groups is None else _groups_of(groups, labelled)
    labelled = labelled if group_of is None else _with_group(labelled, group_of, problems)
    _check_classes([labels[name] for name in labelled], directory, problems)
    if at_most is not None and at_most < len(labelled):
        labelled = _draw(labelled, labels, at_most, random_state)
    facts = _read_all({name: files[name] for name in labelled}, "train", workers, verbose, labels, pixels)
    test_facts = _read_all(test_files, "test", workers, verbose, {}, pixels)
    shape = _most_common_shape(facts.values(), directory)
    train = _without_copies(_usable(labelled, facts, shape, "train", LEFT_OUT, problems), facts, labels, problems)
    test = _usable(test_files, test_facts, shape, "test", PRIOR, problems)
    _list_labelled_too(test, test_facts, {facts[name].digest: name for name in train}, problems)
    problems.stop_if(strict, directory)
    y = np.array([labels[one] for one in train], np.int8)
    _check_classes(y.tolist(), directory, problems)
    return PatchCheck(
        train=Patches(
            tuple(train),
            tuple(files[one] for one in train),
            shape,
            y,
            None if group_of is None else np.array([group_of[one] for one in train], object),
        ),
        test=Patches(tuple(test), tuple(test_files[one] for one in test), shape) if has_test else None,
        test_ids=tuple(test_files),
        problems=pd.DataFrame(problems.rows, columns=["where", "kind", "id", "detail", "consequence"]),
        pixels=pixels,
        shapes=_shapes({"train": facts, "test": test_facts}),
        sha256=_hash([f"{name},{label}" for name, label in zip(train, y.tolist(), strict=True)], train, facts),
        test_sha256=_hash(test, test, test_facts),
    )


@dataclass
class _Problems:
    rows: list[tuple[str, str, str, str, str]] = field(default_factory=list)

    def add(self, where: str, kind: str, name: str, detail: str, consequence: str) -> None:
        self.rows.append((where, kind, name, detail, consequence))

    def stop_if(self, strict: bool, directory: Path) -> None:
        """Refuse to go on if something has to be left out."""
        serious = [
            f"{name} ({where}: {kind})" for where, kind, name, _, consequence in self.rows if consequence != LISTED
        ]
        if strict and serious:
            raise PermGradError(
                f"{directory}: {len(serious)} patches or labels cannot be used, and strict checks were requested:"
                f" {listing(serious)}; repair them, or leave strict out to go on without them"
            )


class _FileFacts(NamedTuple):
    """What a file was found to hold; its pixels are not kept."""

    error: str
    shape: tuple[int, ...] = ()
    lowest: int = 0
    highest: int = 0
    digest: bytes = b""


def _read_labels(path: Path, problems: _Problems) -> dict[str, int]:
    """Return the label of each id that has one."""
    if not path.is_file():
        raise FileFormatError(
            f"cannot read {path}: no such file; the directory must hold {LABELS}, train/ and, optionally, test/"
        )
    with reading(path, "a CSV file with columns id and label"):
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    if not {"id", "label"} <= set(table.columns):
        raise PermGradError(f"{path} must have columns 'id' and 'label', found {listing(table.columns)}")
    given: dict[str, list[int]] = {}
    for name, label in zip(table["id"].str.strip(), table["label"].str.strip(), strict=True):
        if not name:
            problems.add("labels", "no id", "", f"label {label!r}", LEFT_OUT)
        elif label not in ("0", "1"):
            problems.add("labels", NO_LABEL, name, f"label {label!r}", LEFT_OUT)
        else:
            given.setdefault(name, []).append(int(label))
    for name, labels in given.items():
        if len(labels) > 1:
            same = len(set(labels)) == 1
            kind = "id comes twice" if same else "id comes twice with different labels"
            problems.add("labels", kind, name, f"{len(labels)} times", KEPT_ONCE if same else LEFT_OUT)
    return {name: labels[0] for name, labels in given.items() if len(set(labels)) == 1}


def _groups_of(groups: str | Path, names: list[str]) -> dict[str, str]:
    if groups not in KINDS_OF_GROUP:
        return _read_groups(Path(groups))
    named = {name: group_of_id(name, str(groups)) for name in names}
    found = {name: group for name, group in named.items() if group is not None}
    if not found:
        raise PermGradError(
            f"ids such as {names[0] if names else 'these'} name no {groups}; give a CSV file with columns id and group"
        )
    return found


def _read_groups(path: Path) -> dict[str, str]:
    """Return the group of each id."""
    with reading(path, "a CSV file with columns id and group"):
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        if not {"id", "group"} <= set(table.columns):
            raise PermGradError(f"must have columns 'id' and 'group', found {listing(table.columns)}")
        known = table[(table["group"] != "") & (table["id"] != "")].drop_duplicates(["id", "group"])
        several = known["id"][known["id"].duplicated()].unique().tolist()
        if several:
            raise PermGradError(f"each id must have one group; these have several: {listing(several)}")
    return dict(zip(known["id"], known["group"], strict=True))


def _with_group(names: list[str], group_of: Mapping[str, str], problems: _Problems) -> list[str]:
    for name in names:
        if name not in group_of:
            problems.add("labels", "id without group", name, "", LEFT_OUT)
    return [name for name in names if name in group_of]


def _list_files(directory: Path, where: str, problems: _Problems) -> dict[str, Path]:
    """Return the file of each id, sorted by name."""
    try:
        names = sorted(entry.name for entry in os.scandir(directory) if entry.is_file())
    except OSError as error:
        raise PermGradError(f"cannot read {directory}: {error.strerror}; it should hold the patches") from error
    files: dict[str, Path] = {}
    for name in names:
        path = directory / name
        if name.startswith("."):
            continue
        if path.suffix.lower() not in SUFFIXES:
            problems.add(where, "no image by its name", path.stem, name, LEFT_OUT)
        elif path.stem in files:
            problems.add(where, "second file of an id", path.stem, name, LEFT_OUT)
        else:
            files[path.stem] = path
    return files


def _read_all(
    files: Mapping[str, Path],
    where: str,
    workers: int | None,
    verbose: bool,
    labels: Mapping[str, int],
    pixels: np.ndarray,
) -> dict[str, _FileFacts]:
    """Read every file once, several at a time; count the values of labelled ones in `pixels`."""
    facts = {}
    with quiet_opencv(), ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        read = pool.map(_read_facts, files.values())
        bar = tqdm(read, where, len(files), unit="file", disable=not verbose or not files)
        for name, (of_file, counts) in zip(files, bar, strict=True):
            facts[name] = of_file
            if name in labels and counts is not None:
                pixels[labels[name]] += counts
    return facts


def _read_facts(path: Path) -> tuple[_FileFacts, np.ndarray | None]:
    try:
        image = read_patch(path)
    except PermGradError as error:
        return _FileFacts(str(error).removeprefix(f"{path}: ")), None
    digest = hashlib.sha256(str(image.shape).encode() + image.tobytes()).digest()
    counts = np.stack([cv2.calcHist([image], [c], None, [256], [0, 256]).ravel() for c in range(3)])  # exact below 2²⁴
    return _FileFacts("", image.shape, int(image.min()), int(image.max()), digest), counts.astype(np.int64)


def _check_classes(labels: list[int], directory: Path, problems: _Problems) -> None:
    if set(labels) == {0, 1}:
        return
    refused = [detail for _, kind, _, detail, _ in problems.rows if kind == NO_LABEL]
    hint = f"; {len(refused)} labels are neither, such as {refused[0]}" if refused else ""
    raise PermGradError(
        f"{directory}: patches labelled 0 and patches labelled 1 are needed, found"
        f" {listing(sorted(set(labels))) or 'none at all'}{hint}"
    )


def _most_common_shape(facts: Iterable[_FileFacts], directory: Path) -> tuple[int, int, int]:
    shapes = Counter(each.shape for each in facts if not each.error)
    if not shapes:
        raise PermGradError(f"{directory}: there is no labelled image in train/ that can be read")
    return shapes.most_common(1)[0][0]  # type: ignore[return-value]


def _match(labels: Mapping[str, int], files: Mapping[str, Path], problems: _Problems) -> list[str]:
    """Return ids that have both a file and a label, in the files' order."""
    for name in labels:
        if name not in files:
            problems.add("labels", "id without file", name, "", LEFT_OUT)
    for name, path in files.items():
        if name not in labels:
            problems.add("train", "file without label", name, path.name, LEFT_OUT)
    return [name for name in files if name in labels]


def _draw(names: list[str], labels: Mapping[str, int], n: int, random_state: int) -> list[str]:
    """Draw `n` of the ids, each label's share kept, at least two of each; in their order."""
    rng = np.random.default_rng(random_state)
    y = np.array([labels[name] for name in names])
    positive = int(np.clip(round(n * y.mean()), 2, max(2, n - 2)))
    rows = [rng.permutation(np.flatnonzero(y == c))[:k] for c, k in ((0, n - positive), (1, positive))]
    return [names[row] for row in np.sort(np.concatenate(rows))]


def _usable(
    names: Iterable[str],
    facts: Mapping[str, _FileFacts],
    shape: tuple[int, ...],
    where: str,
    consequence: str,
    problems: _Problems,
) -> list[str]:
    usable = []
    for name in names:
        image = facts[name]
        if image.error:
            problems.add(where, "cannot be read", name, image.error, consequence)
        elif image.shape != shape:
            own, most = (" × ".join(map(str, each)) for each in (image.shape, shape))
            problems.add(where, "another shape", name, f"{own}, most are {most}", consequence)
        else:
            usable.append(name)
            if image.lowest == image.highest:
                problems.add(where, "one colour", name, f"all values are {image.lowest}", LISTED)
    return usable


def _without_copies(
    names: list[str], facts: Mapping[str, _FileFacts], labels: Mapping[str, int], problems: _Problems
) -> list[str]:
    """Keep the first of images that are equal pixel by pixel, or none if they are labelled differently."""
    alike: dict[bytes, list[str]] = {}
    for name in names:
        alike.setdefault(facts[name].digest, []).append(name)
    without_copies = []
    for first, *others in alike.values():
        same = len({labels[name] for name in (first, *others)}) == 1
        without_copies += [first] if same else []
        kind = "image comes twice" if same else "image comes twice with different labels"
        for name in others if same else (first, *others) if others else ():
            detail = f"the same as {first}" if name != first else f"the same as {listing(others)}"
            problems.add("train", kind, name, detail, LEFT_OUT)
    order = {name: i for i, name in enumerate(names)}
    return sorted(without_copies, key=order.__getitem__)


def _list_labelled_too(
    names: list[str], facts: Mapping[str, _FileFacts], labelled: Mapping[bytes, str], problems: _Problems
) -> None:
    """List test images that are, pixel by pixel, one of the labelled ones (digest → name)."""
    for name in names:
        if facts[name].digest in labelled:
            problems.add("test", "labelled image too", name, f"the same as {labelled[facts[name].digest]}", LISTED)


def _shapes(facts: Mapping[str, Mapping[str, _FileFacts]]) -> pd.DataFrame:
    rows = [
        {"where": where, "shape": " × ".join(map(str, image.shape)), "lowest": image.lowest, "highest": image.highest}
        for where, images in facts.items()
        for image in images.values()
        if not image.error
    ]
    table = pd.DataFrame(rows, columns=["where", "shape", "lowest", "highest"])
    return (
        table.groupby(["where", "shape"], sort=False)
        .agg(files=("lowest", "size"), lowest=("lowest", "min"), highest=("highest", "max"))
        .reset_index()
    )


def _hash(texts: list[str], names: list[str], facts: Mapping[str, _FileFacts]) -> str:
    digest = hashlib.sha256()
    for text, name in zip(texts, names, strict=True):
        digest.update(f"{text},".encode() + facts[name].digest)
    return digest.hexdigest()
