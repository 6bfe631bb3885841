"""What a ranking's probes say of its columns, in words."""

from __future__ import annotations

from permgrad.importance.ranking import FeatureRanking


def probe_sentence(ranking: FeatureRanking) -> str | None:
    """Say how many columns are above the probes' level; None where the ranking has no probes."""
    level, n = ranking.probe_level, len(ranking.probes)
    if level is None:
        return None
    columns = len(ranking.features) - len({*ranking.probes, *ranking.unused, *ranking.pending})
    above = len(ranking.select(above_probes=True))
    beside = (
        "The ranking includes 1 probe, a shuffled copy of a column"
        if n == 1
        else (f"The ranking includes {n} probes, shuffled copies of columns")
    )
    return (
        f"{beside}: a column without information may score up to {level[1]:.3g}; {above} of {columns} columns have a"
        " higher score."
    )
