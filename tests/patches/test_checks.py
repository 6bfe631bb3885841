"""Everything that can be wrong with a directory of patches is named, and left out as the docstring says."""

from __future__ import annotations

import hashlib
import shutil

import cv2
import numpy as np
import pandas as pd
import pytest

import permgrad as pg
from permgrad.patches.planted import write_planted_patches


@pytest.fixture
def spoiled(directory, tmp_path):
    """A copy in which each thing is wrong once; returns the directory and the id that each happened to."""
    path = tmp_path / "spoiled"
    shutil.copytree(directory, path)
    table = pd.read_csv(path / "train_labels.csv")
    ids = sorted(table["id"])
    label = table.set_index("id")["label"]
    train, same = path / "train", {one: [i for i in ids if label[i] == one] for one in (0, 1)}
    names = {
        "cut": ids[0],
        "text": ids[1],
        "grey": ids[2],
        "larger": ids[3],
        "no file": ids[4],
        "no label": ids[5],
        "bad label": ids[6],
        "twice": ids[7],
        "twice, different": ids[8],
        "one colour": ids[9],
        "copy": same[0][-1],
        "copied": same[0][-2],
        "other copy": same[1][-1],
        "other copied": same[0][-3],
    }
    whole = (train / f"{names['cut']}.tif").read_bytes()
    (train / f"{names['cut']}.tif").write_bytes(whole[: len(whole) // 2])
    (train / f"{names['text']}.tif").write_text("no image")
    cv2.imwrite(str(train / f"{names['grey']}.tif"), np.zeros((48, 48), np.uint8))
    cv2.imwrite(str(train / f"{names['larger']}.tif"), np.full((50, 48, 3), 7, np.uint8))
    (train / f"{names['no file']}.tif").unlink()
    cv2.imwrite(str(train / f"{names['one colour']}.tif"), np.full((48, 48, 3), 9, np.uint8))
    shutil.copy(train / f"{names['copied']}.tif", train / f"{names['copy']}.tif")
    shutil.copy(train / f"{names['other copied']}.tif", train / f"{names['other copy']}.tif")
    (train / "notes.txt").write_text("mine")
    tests = sorted((path / "test").iterdir())
    tests[0].write_bytes(b"II*\x00 cut off")
    shutil.copy(train / f"{ids[10]}.tif", tests[1])
    table = table[table["id"] != names["no label"]].astype(str)
    table.loc[table["id"] == names["bad label"], "label"] = "maybe"
    opposite = str(1 - label[names["twice, different"]])
    more = [(names["twice"], str(label[names["twice"]])), (names["twice, different"], opposite), ("", "1")]
    pd.concat([table, pd.DataFrame(more, columns=["id", "label"])]).to_csv(path / "train_labels.csv", index=False)
    return path, names, [test.stem for test in tests]


def test_all_of_it_is_listed(spoiled, capfd):
    path, names, tests = spoiled
    check = pg.check_patches(path)
    problems = {(row.where, row.kind, row.id): row.consequence for row in check.problems.itertuples()}
    first, second = sorted([names["copy"], names["copied"]])
    expected = {
        ("train", "cannot be read", names["cut"]): "left out",
        ("train", "cannot be read", names["text"]): "left out",
        ("train", "cannot be read", names["grey"]): "left out",
        ("train", "another shape", names["larger"]): "left out",
        ("labels", "id without file", names["no file"]): "left out",
        ("train", "file without label", names["no label"]): "left out",
        ("labels", "no label of 0 or 1", names["bad label"]): "left out",
        ("train", "file without label", names["bad label"]): "left out",
        ("labels", "no id", ""): "left out",
        ("labels", "id comes twice", names["twice"]): "kept once",
        ("labels", "id comes twice with different labels", names["twice, different"]): "left out",
        ("train", "file without label", names["twice, different"]): "left out",
        ("train", "one colour", names["one colour"]): "listed, and kept",
        ("train", "image comes twice", second): "left out",
        ("train", "image comes twice with different labels", names["other copy"]): "left out",
        ("train", "image comes twice with different labels", names["other copied"]): "left out",
        ("train", "no image by its name", "notes"): "left out",
        ("test", "cannot be read", tests[0]): "predicted as the share of positives",
        ("test", "labelled image too", tests[1]): "listed, and kept",
    }
    assert problems == expected
    assert first in check.train.ids
    gone = {key[2] for key, what in expected.items() if what == "left out" and key[0] != "test"}
    assert not gone & set(check.train.ids)
    assert len(check.train) == 40 - len(gone - {"", "notes"})
    assert {names["twice"], names["one colour"]} <= set(check.train.ids)
    assert check.test_ids == tuple(tests)
    assert check.test.ids == tuple(tests[1:])
    assert "3 × cannot be read (train)" in str(check)
    assert capfd.readouterr().err == ""


def test_strict_stops(spoiled, directory):
    with pytest.raises(pg.PermGradError, match="strict checks were requested"):
        pg.check_patches(spoiled[0], strict=True)
    assert pg.check_patches(directory, strict=True).problems.empty


def test_a_sound_directory(directory):
    check = pg.check_patches(directory, workers=1)
    labels = pd.read_csv(directory / "train_labels.csv").set_index("id")["label"]
    assert check.train.ids == tuple(sorted(labels.index))
    assert check.train.y.tolist() == labels[list(check.train.ids)].tolist()
    assert check.train.shape == (48, 48, 3)
    assert check.classes["patches"].tolist() == [20, 20]
    assert check.shapes["files"].tolist() == [40, 6]
    assert "nothing is wrong with them" in str(check)
    counts = np.zeros((2, 3, 256), int)  # as plainly as can be
    for image, y in zip(check.train.pixels(), check.train.y, strict=True):
        for c in range(3):
            counts[y, c] += np.bincount(image[:, :, c].ravel(), minlength=256)
    np.testing.assert_array_equal(check.pixels, counts)
    assert check.shapes["lowest"][0] == min(image.min() for image in check.train.pixels())


def test_the_hash_is_of_ids_labels_and_pixels(directory, tmp_path):
    check = pg.check_patches(directory)
    digest = hashlib.sha256()
    for one, y, image in zip(check.train.ids, check.train.y.tolist(), check.train.pixels(), strict=True):
        digest.update(f"{one},{y},".encode() + hashlib.sha256(b"(48, 48, 3)" + image.tobytes()).digest())
    assert check.sha256 == digest.hexdigest()
    other = tmp_path / "png"  # other files, the same pixels
    shutil.copytree(directory, other)
    for path in (other / "train").iterdir():
        cv2.imwrite(str(path.with_suffix(".png")), cv2.imread(str(path)))
        path.unlink()
    assert pg.check_patches(other).sha256 == check.sha256


def test_a_part_may_be_read(directory):
    """Stratified, seeded; all that is said is of that part."""
    part = pg.check_patches(directory, at_most=10, random_state=1)
    assert np.bincount(part.train.y).tolist() == [5, 5]
    assert part.train.ids == pg.check_patches(directory, at_most=10, random_state=1).train.ids
    assert part.train.ids != pg.check_patches(directory, at_most=10, random_state=2).train.ids
    assert list(part.train.ids) == sorted(part.train.ids)
    assert part.pixels.sum() == 10 * 48 * 48 * 3
    assert part.shapes["files"].tolist() == [10, 6]
    whole = pg.check_patches(directory)
    assert part.sha256 != whole.sha256
    assert part.test_sha256 == whole.test_sha256
    assert len(pg.check_patches(directory, at_most=99).train) == 40


def test_labels_of_another_kind(directory, tmp_path):
    path = tmp_path / "floats"
    shutil.copytree(directory, path)
    pd.read_csv(path / "train_labels.csv").astype({"label": float}).to_csv(path / "train_labels.csv", index=False)
    with pytest.raises(pg.PermGradError, match=r"found none at all; 40 labels are neither, such as label '(0|1)\.0'"):
        pg.check_patches(path)


def test_pixels_are_red_first(tmp_path):
    write_planted_patches(tmp_path, 4, 0, size=32)
    path = next((tmp_path / "train").iterdir())
    cv2.imwrite(str(path), np.full((32, 32, 3), (1, 2, 200), np.uint8))  # OpenCV writes blue first
    check = pg.check_patches(tmp_path)
    at = check.train.ids.index(path.stem)
    assert check.train.pixels([at])[0, 0, 0].tolist() == [200, 2, 1]


def test_other_layouts(tmp_path, directory):
    with pytest.raises(pg.PermGradError, match=r"train_labels.csv: no such file; .*must hold"):
        pg.check_patches(tmp_path)
    (tmp_path / "train_labels.csv").write_text("name,label\na,1\n")
    with pytest.raises(pg.PermGradError, match="must have columns 'id' and 'label'"):
        pg.check_patches(tmp_path)
    (tmp_path / "train_labels.csv").write_text("id,label\na,1\n")
    with pytest.raises(pg.PermGradError, match="it should hold the patches"):
        pg.check_patches(tmp_path)
    (tmp_path / "train").mkdir()
    with pytest.raises(pg.PermGradError, match="labelled 1 are needed, found none at all"):
        pg.check_patches(tmp_path)
    shutil.copy(next((directory / "train").iterdir()), tmp_path / "train" / "a.tif")
    with pytest.raises(pg.PermGradError, match="labelled 0 and patches labelled 1 are needed, found 1"):
        pg.check_patches(tmp_path)
    (tmp_path / "train_labels.csv").write_text("id,label\na,1\nb,0\n")
    for name in "ab":
        (tmp_path / "train" / f"{name}.tif").write_text("no image")
    with pytest.raises(pg.PermGradError, match="no labelled image in train"):
        pg.check_patches(tmp_path)
    (tmp_path / "train_labels.csv").write_text("")
    with pytest.raises(pg.PermGradError, match="is not a CSV file"):
        pg.check_patches(tmp_path)


def test_a_file_that_changes_later(directory, tmp_path):
    path = tmp_path / "later"
    shutil.copytree(directory, path)
    train = pg.check_patches(path).train
    cv2.imwrite(str(train.files[0]), np.zeros((20, 20, 3), np.uint8))
    with pytest.raises(pg.PermGradError, match=r"expected an image of \(48, 48, 3\), found \(20, 20, 3\)"):
        train.pixels([0])
    train.files[0].unlink()
    with pytest.raises(pg.PermGradError, match="No such file"):
        train.pixels([0])
