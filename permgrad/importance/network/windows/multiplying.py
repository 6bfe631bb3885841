"""A convolution of a small window, as products of matrices.

A window of w cells, 0 around, slides under a kernel of k cells: w + k - 1 sums. They are the coefficients of a product
of two polynomials, and such a product is known by its values at w + k - 1 points (Toom and Cook; Winograd's algorithms
of convolutional networks are the same, transposed). On two axes that takes (w + k - 1)² products of
(channels in, channels out) matrices, where the sums themselves are w² k²: 16 rather than 36 of a window of 2 × 2 under
a kernel of 3 × 3. The kernel's values are computed once.

References
----------
Lavin & Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016.
"""

from __future__ import annotations

import numpy as np

POINTS = (0.0, 1.0, -1.0, 2.0, -0.5)
"""Where polynomials are evaluated, and in the infinite; few enough that rounding stays that of the sums."""
MOST = len(POINTS) + 1


def evaluation(n: int, n_points: int) -> np.ndarray:
    """Return what takes n coefficients to the polynomial's values, (n_points, n); the last is at infinity."""
    values = np.array([[point**power for power in range(n)] for point in POINTS[: n_points - 1]]).reshape(-1, n)
    return np.vstack([values, np.eye(n)[-1:]])


def interpolation(n_points: int) -> np.ndarray:
    """Return what takes the values to the coefficients, (n_points, n_points)."""
    return np.linalg.inv(evaluation(n_points, n_points))


def on_both_axes(down: np.ndarray, across: np.ndarray) -> np.ndarray:
    """Return what does `down` to the rows and `across` to the columns of cells, row after row."""
    return np.kron(down, across)


def taps(n_in: int, n_out: int, kernel: int, stride: int, dilation: int) -> np.ndarray:
    """Return which of the kernel's cells takes input u to output i, on one axis: (n_in, n_out); `kernel` for none.

    Inputs stand as `Span.aligned` has them.
    """
    u, i = np.arange(n_in)[:, None], np.arange(n_out)
    distance = dilation * (kernel - 1) + 1 - stride + u - stride * i
    tap = distance // dilation
    return np.where((distance % dilation == 0) & (tap >= 0) & (tap < kernel), tap, kernel)
