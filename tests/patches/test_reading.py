"""Batches hold the right pixels and labels, in the right order."""

from __future__ import annotations

import numpy as np
import pytest

import permgrad as pg
from permgrad.patches.reading import PatchBatches, epoch_order, symmetric


def test_batches_are_the_files(patches):
    order = np.arange(40)[::-1]
    batches = PatchBatches(patches, 16, order=order, labelled=True, positive_weight=3, workers=3)
    images, labels, weights = (
        np.concatenate(parts) for parts in zip(*(batches[i] for i in range(len(batches))), strict=True)
    )
    np.testing.assert_array_equal(images, patches.pixels()[::-1])
    np.testing.assert_array_equal(labels[:, 0], patches.y[::-1])
    np.testing.assert_array_equal(weights, np.where(patches.y[::-1] == 1, 3, 1))
    assert images.dtype == np.uint8
    assert [len(batches[i][0]) for i in range(3)] == [16, 16, 8]
    assert len(PatchBatches(patches, 16)[0]) == 1  # no labels unless they are asked for


def test_each_epoch_is_a_seeded_permutation(patches):
    first, second = (epoch_order(patches, epoch, random_state=1) for epoch in (0, 1))
    assert sorted(first) == sorted(second) == list(range(40))
    assert first.tolist() != second.tolist()
    assert first.tolist() == epoch_order(patches, 0, random_state=1).tolist()
    assert first.tolist() != epoch_order(patches, 0, random_state=2).tolist()


def test_balanced_sampling_shares_out_evenly(patches):
    rows = np.concatenate([np.flatnonzero(patches.y == 0), np.flatnonzero(patches.y == 1)[:7]])
    few = patches.take(rows)  # 20 negative, 7 positive
    order = epoch_order(few, 0, random_state=0, sampling="balanced")
    assert len(order) == 27
    times = np.bincount(order, minlength=27)
    assert times[:20].sum() == 14
    assert set(times[:20]) == {0, 1}
    assert times[20:].sum() == 13
    assert set(times[20:]) == {1, 2}
    with pytest.raises(pg.PermGradError, match="both classes"):
        epoch_order(few.take(range(5)), 0, 0, "balanced")
    with pytest.raises(pg.PermGradError, match="'plain' or 'balanced', got 'even'"):
        epoch_order(few, 0, 0, "even")


def test_eight_symmetries_by_hand():
    square = np.arange(4).reshape(1, 2, 2, 1)
    turned = [symmetric(square, i)[0, :, :, 0].tolist() for i in range(8)]
    assert turned[0] == [[0, 1], [2, 3]]
    assert turned[1] == [[1, 3], [0, 2]]  # a quarter counter-clockwise
    assert turned[4] == [[1, 0], [3, 2]]  # left to right
    assert len({str(each) for each in turned}) == 8
    with pytest.raises(pg.PermGradError, match="only square patches"):
        symmetric(np.zeros((1, 2, 3, 3)), 1)


def test_symmetries_in_a_batch(patches):
    images = PatchBatches(patches, 2, symmetries=8)[0][0]
    assert images.shape == (16, 48, 48, 3)
    np.testing.assert_array_equal(images[2 * 5 + 1], symmetric(patches.pixels([1]), 5)[0])


def test_patches_are_taken_in_order(patches):
    some = patches.take([3, 1])
    assert some.ids == (patches.ids[3], patches.ids[1])
    assert some.y.tolist() == patches.y[[3, 1]].tolist()
    np.testing.assert_array_equal(some.pixels(), patches.pixels([3, 1]))
