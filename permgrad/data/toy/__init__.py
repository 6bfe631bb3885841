"""Tables whose relevant columns are known: what a feature ranking should find, and how much of it it found.

Each function returns a `Table` (`single_cells`: `Cells`) whose ``notes["relevant"]`` lists the columns that the target
depends on. Features are named ``x0``, ``x1``, ...; the seed draws the positions of the relevant ones, for an image
layout or the order of equal scores may favour the first columns.
"""

from permgrad.data.toy.found import recall
from permgrad.data.toy.genes import gene_expression, single_cells
from permgrad.data.toy.problems import PROBLEMS, ring, ring_xor, ring_xor_sum, xor
from permgrad.data.toy.sums import additive, categorical, correlated_nulls, duplicated

__all__ = [
    "PROBLEMS",
    "additive",
    "categorical",
    "correlated_nulls",
    "duplicated",
    "gene_expression",
    "recall",
    "ring",
    "ring_xor",
    "ring_xor_sum",
    "single_cells",
    "xor",
]
