"""A fitted encoder as plain lists and numbers, as a model's file keeps them, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from permgrad.data._dates import PARTS
from permgrad.data._kinds import TextRule
from permgrad.errors import PermGradError, listing

if TYPE_CHECKING:
    from permgrad.data.encoding import ColumnEncoder


def description(encoder: ColumnEncoder) -> dict[str, Any]:
    """Return what `ColumnEncoder.to_dict` returns."""
    return {
        "features": list(encoder.features_),
        "named": hasattr(encoder, "feature_names_in_"),
        "numeric": list(encoder.numeric_),
        "dates": {name: list(parts) for name, parts in encoder.dates_.items()},
        "origins": encoder.origins_,
        "rules": {name: [rule.kind, rule.form] for name, rule in encoder.rules_.items()},
        "left_out": encoder.left_out_,
        "medians": list(encoder.medians_),
        "offsets": list(encoder.offsets_),
        "ranges": {name: list(ends) for name, ends in encoder.ranges_.items()},
        "ordinals": {name: list(levels) for name, levels in encoder.ordinals_.items()},
        "gaps": list(encoder.gaps_),
        "categories": {name: list(levels) for name, levels in encoder.categories_.items()},
        "pools": {
            name: {pool: list(levels) for pool, levels in pools.items()} for name, pools in encoder.pools_.items()
        },
        "constant": list(encoder.constant_),
        "missing": encoder.missing_,
    }


def restore(encoder: ColumnEncoder, content: dict[str, Any]) -> None:
    """Give an encoder what `ColumnEncoder.from_dict` reads; raises as that does."""
    encoder.features_ = _names(content["features"])
    encoder.n_features_in_ = len(encoder.features_)
    if content["named"]:
        encoder.feature_names_in_ = np.array(encoder.features_, dtype=object)
    encoder.numeric_ = _names(content["numeric"])
    encoder.dates_ = {name: _names(parts) for name, parts in content["dates"].items()}
    encoder.origins_ = {name: pd.Timestamp(origin).isoformat() for name, origin in content["origins"].items()}
    encoder.rules_ = {name: TextRule(*rule) for name, rule in content["rules"].items()}
    encoder.left_out_ = {name: str(reason) for name, reason in content["left_out"].items()}
    encoder.medians_ = tuple(content["medians"])
    encoder.offsets_ = tuple(content["offsets"])
    encoder.ranges_ = {name: (ends[0], ends[1]) for name, ends in content["ranges"].items()}
    encoder.ordinals_ = {name: _names(levels) for name, levels in content["ordinals"].items()}
    encoder.gaps_ = _names(content["gaps"])
    encoder.categories_ = {name: _names(levels) for name, levels in content["categories"].items()}
    encoder.pools_ = {
        name: {pool: _names(levels) for pool, levels in pools.items()} for name, pools in content["pools"].items()
    }
    encoder.constant_ = _names(content["constant"])
    encoder.missing_ = {name: int(count) for name, count in content["missing"].items()}
    _check(encoder)


def _check(encoder: ColumnEncoder) -> None:
    """Raise `PermGradError` where what was read does not fit together."""
    numbers, dates = {*encoder.numeric_, *encoder.gaps_} - {*encoder.dates_}, {*encoder.dates_}
    told = numbers | dates | {*encoder.categories_}
    if not len(encoder._number_owners()) == len(encoder.medians_) == len(encoder.offsets_):
        raise PermGradError("an encoder has a median and an offset for each numeric column and part of a date")
    if dates != {*encoder.origins_} or not all({*parts} and {*parts} <= {*PARTS} for parts in encoder.dates_.values()):
        raise PermGradError(f"an encoder has a first day, and some of {listing(PARTS)}, for each date")
    if not np.isfinite(np.array([encoder.medians_, encoder.offsets_], float)).all():
        raise PermGradError("medians and offsets of an encoder are finite numbers")
    if (
        (numbers | dates) & {*encoder.categories_}
        or {*encoder.numeric_} & dates
        or not {*encoder.ordinals_} <= numbers
        or not {*encoder.pools_} <= {*encoder.categories_}
    ):
        raise PermGradError("each column of an encoder is of one kind")
    if told & {*encoder.constant_} or told | {*encoder.constant_} != {*encoder.features_} or not told:
        raise PermGradError("an encoder knows each of its columns, and encodes at least one")
    if not {*encoder.missing_} | {*encoder.rules_} <= {*encoder.features_} or not {*encoder.left_out_} <= {
        *encoder.constant_
    }:
        raise PermGradError("an encoder counts what is missing of its own columns, and reads no others")
    kinds = [(str if name in dates else (int, float), *ends) for name, ends in encoder.ranges_.items()]
    if {*encoder.ranges_} != {*encoder.numeric_} | dates or not all(
        isinstance(low, kind) and isinstance(high, kind) for kind, low, high in kinds
    ):
        raise PermGradError("an encoder has the lowest and the highest value of each number and date")
    for name, kept in encoder.categories_.items():
        pools = encoder.pools_.get(name, {})
        rarest, *others = [*pools.values()] or [()]
        _names([*kept, *(level for levels in others for level in levels)])
        if rarest or len(kept) + len(pools) < 2 or (name in encoder.pools_ and not pools):
            raise PermGradError("a categorical column has two 0/1 columns or more, and its rarest pool lists no level")


def _names(values: Any) -> tuple[str, ...]:
    """Return names that were read, if they are names, and differ."""
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise PermGradError(f"an encoder has lists of names, got {listing([values])}")
    if len(set(values)) < len(values):
        raise PermGradError(f"names in an encoder's lists differ, got {listing(values)}")
    return tuple(values)
