"""A ranking of genes by NS-Forest (package nsforest), which names markers of each cell type.

For each type, NS-Forest keeps the genes that are high in it and low elsewhere (the binary score). A random forest tells
this type from the rest by them; of the genes that it relies on, NS-Forest chooses the few that mark the type best. A
panel takes from the types' lists in turn: first every type's best marker, then every type's second.
"""

from __future__ import annotations

import io
import tempfile
import warnings
from contextlib import redirect_stdout
from itertools import zip_longest

import pandas as pd

import permgrad as pg

LISTED = 50
"""Genes of each type at most: with ten types, enough for a panel of 200."""


def rank_by_nsforest(train: pg.Cells, n_trees: int) -> pg.FeatureRanking:
    """Rank genes by their place in the types' lists; genes of one place keep the types' order.

    The means of types stand for the default medians: in sparse cells, nearly all medians are 0. NS-Forest seeds its
    forests itself, so that the ranking is always the same.

    Parameters
    ----------
    train : Cells
        Log-normalised.
    n_trees : int
        Of each type's forest; NS-Forest's default is 1,000.
    """
    lists = _lists(train, n_trees)
    turns = [gene for turn in zip_longest(*lists) for gene in turn if gene is not None]
    order = list(dict.fromkeys(turns))
    scores = pd.Series(range(len(order), 0, -1), index=order).reindex(train.features, fill_value=0)
    return pg.FeatureRanking(train.features, scores.to_numpy(float), method="nsforest")


def _lists(train: pg.Cells, n_trees: int) -> list[list[str]]:
    """Return each type's genes: the chosen markers, then the others by their binary score."""
    import anndata
    import nsforest

    types = pd.DataFrame({"type": train.y}, index=[f"cell {i}" for i in range(len(train.y))])
    cells = anndata.AnnData(train.X.toarray(), types, pd.DataFrame(index=list(train.features)))
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), tempfile.TemporaryDirectory() as directory:
        warnings.simplefilter("ignore")
        cells = nsforest.pp.prep_medians(cells, "type", use_mean=True)
        cells = nsforest.pp.prep_binary_scores(cells, "type")
        found = nsforest.nsforesting.NSForest(
            cells,
            "type",
            n_trees=n_trees,
            n_jobs=1,
            n_top_genes=LISTED,
            n_binary_genes=LISTED,
            output_folder=directory,
        )
    return [
        list(dict.fromkeys([*markers, *others]))
        for markers, others in zip(found["NSForest_markers"], found["binary_genes"], strict=True)
    ]
