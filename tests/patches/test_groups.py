"""Patches of one slide or patient are on one side of a split."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import permgrad as pg


@pytest.fixture
def slides(patches, tmp_path):
    """Ten slides of four patches."""
    path = tmp_path / "slides.csv"
    groups = [f"slide {i % 10}" for i in range(len(patches))]
    pd.DataFrame({"id": patches.ids, "group": groups}).to_csv(path, index=False)
    return path


def test_a_slide_is_on_one_side(directory, slides):
    found = pg.check_patches(directory, groups=slides).train
    assert found.groups.tolist() == [f"slide {i % 10}" for i in range(len(found))]
    for seed in range(4):
        train, held = found.split(0.3, random_state=seed)
        assert not set(train.groups) & set(held.groups)
        assert sorted(train.ids + held.ids) == sorted(found.ids)
        assert set(held.y) == {0, 1}
        assert 0.2 <= len(held) / len(found) <= 0.4


def test_without_groups_labels_keep_their_share(patches):
    train, held = patches.split(0.25, random_state=1)
    assert len(held) == 10
    assert abs(held.y.mean() - patches.y.mean()) < 0.06
    assert not set(train.ids) & set(held.ids)
    with pytest.raises(pg.PermGradError, match="share must be between 0 and 1"):
        patches.split(1)


def test_a_patch_without_a_group_is_left_out_and_named(directory, slides):
    table = pd.read_csv(slides)
    table.iloc[1:].to_csv(slides, index=False)
    found = pg.check_patches(directory, groups=slides)
    assert len(found.train) == 39
    row = found.problems[found.problems["kind"] == "id without group"].iloc[0]
    assert (row["id"], row["consequence"]) == (table["id"].iloc[0], "left out")
    pd.concat([table, table.iloc[:1].assign(group="other")]).to_csv(slides, index=False)
    with pytest.raises(pg.PermGradError, match="each id must have one group"):
        pg.check_patches(directory, groups=slides)
    table.rename(columns={"group": "patient"}).to_csv(slides, index=False)
    with pytest.raises(pg.PermGradError, match="must have columns 'id' and 'group'"):
        pg.check_patches(directory, groups=slides)


def test_a_group_on_both_sides_is_refused_before_training(patches):
    known = pg.Patches(patches.ids, patches.files, patches.shape, patches.y, np.arange(len(patches)) % 7)
    with pytest.raises(pg.PermGradError, match="7 groups have patches to train and patches to validate on"):
        pg.fit_patches(None, known.take(range(20)), known.take(range(20, 40)), pg.PatchTraining())
