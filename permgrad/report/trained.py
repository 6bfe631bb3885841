"""Whether a results directory holds a network: that of `permgrad rank --model` does not."""

from __future__ import annotations

from pathlib import Path

from permgrad.errors import PermGradError


def check_trained(results: str | Path) -> None:
    """Raise if a results directory holds the ranking of a saved model, and no network."""
    results = Path(results)
    if (results / "ranking.json").exists() and not (results / "model").exists():
        raise PermGradError(
            f"{results} holds the ranking of a saved model (rank --model), without a network; see its pictures and"
            " ranking.csv, and ask that model itself"
        )
