"""A fitted encoder as plain lists and numbers, as a model's file keeps them, and back."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import pandas as pd

from permgrad.data._dates import PARTS
from permgrad.data._kinds import TextRule
from permgrad.errors import PermGradError, check_fitted, listing


class EncoderFile:
    """What `ColumnEncoder` learned, which says what each is: written to a file and read back."""

    features_: tuple[str, ...]
    n_features_in_: int
    feature_names_in_: np.ndarray
    numeric_: tuple[str, ...]
    dates_: dict[str, tuple[str, ...]]
    origins_: dict[str, str]
    rules_: dict[str, TextRule]
    left_out_: dict[str, str]
    medians_: tuple[float, ...]
    offsets_: tuple[float, ...]
    ranges_: dict[str, tuple[Any, Any]]
    ordinals_: dict[str, tuple[str, ...]]
    gaps_: tuple[str, ...]
    categories_: dict[str, tuple[str, ...]]
    pools_: dict[str, dict[str, tuple[str, ...]]]
    constant_: tuple[str, ...]
    missing_: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers, ready for JSON.

        Examples
        --------
        >>> pg.ColumnEncoder().fit(pd.DataFrame({"age": [20.0, 30.0]})).to_dict()["ranges"]
        {'age': [20.0, 30.0]}
        """
        check_fitted(self)
        return {
            "features": list(self.features_),
            "named": hasattr(self, "feature_names_in_"),
            "numeric": list(self.numeric_),
            "dates": {name: list(parts) for name, parts in self.dates_.items()},
            "origins": self.origins_,
            "rules": {name: [rule.kind, rule.form] for name, rule in self.rules_.items()},
            "left_out": self.left_out_,
            "medians": list(self.medians_),
            "offsets": list(self.offsets_),
            "ranges": {name: list(ends) for name, ends in self.ranges_.items()},
            "ordinals": {name: list(levels) for name, levels in self.ordinals_.items()},
            "gaps": list(self.gaps_),
            "categories": {name: list(levels) for name, levels in self.categories_.items()},
            "pools": {
                name: {pool: list(levels) for pool, levels in pools.items()} for name, pools in self.pools_.items()
            },
            "constant": list(self.constant_),
            "missing": self.missing_,
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Self:
        """Build the fitted encoder that `to_dict` described.

        Raises
        ------
        PermGradError, KeyError, TypeError, AttributeError
            If `content` is not such a description.

        Examples
        --------
        >>> pg.ColumnEncoder.from_dict(clf.encoder_.to_dict()).features_ == clf.encoder_.features_
        True
        """
        encoder = cls()
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
        encoder._check()
        return encoder

    def _number_owners(self) -> list[str]:
        """Return the table's column of each encoded number."""
        return [*self.numeric_, *(name for name, parts in self.dates_.items() for _ in parts)]

    def _check(self) -> None:
        """Raise `PermGradError` where what was read does not fit together."""
        numbers, dates = {*self.numeric_, *self.gaps_} - {*self.dates_}, {*self.dates_}
        told = numbers | dates | {*self.categories_}
        if not len(self._number_owners()) == len(self.medians_) == len(self.offsets_):
            raise PermGradError("an encoder has a median and an offset for each numeric column and part of a date")
        if dates != {*self.origins_} or not all({*parts} and {*parts} <= {*PARTS} for parts in self.dates_.values()):
            raise PermGradError(f"an encoder has a first day, and some of {listing(PARTS)}, for each date")
        if not np.isfinite(np.array([self.medians_, self.offsets_], float)).all():
            raise PermGradError("medians and offsets of an encoder are finite numbers")
        if (
            (numbers | dates) & {*self.categories_}
            or {*self.numeric_} & dates
            or not {*self.ordinals_} <= numbers
            or not {*self.pools_} <= {*self.categories_}
        ):
            raise PermGradError("each column of an encoder is of one kind")
        if told & {*self.constant_} or told | {*self.constant_} != {*self.features_} or not told:
            raise PermGradError("an encoder knows each of its columns, and encodes at least one")
        if not {*self.missing_} | {*self.rules_} <= {*self.features_} or not {*self.left_out_} <= {*self.constant_}:
            raise PermGradError("an encoder counts what is missing of its own columns, and reads no others")
        kinds = [(str if name in dates else (int, float), *ends) for name, ends in self.ranges_.items()]
        if {*self.ranges_} != {*self.numeric_} | dates or not all(
            isinstance(low, kind) and isinstance(high, kind) for kind, low, high in kinds
        ):
            raise PermGradError("an encoder has the lowest and the highest value of each number and date")
        for name, kept in self.categories_.items():
            pools = self.pools_.get(name, {})
            rarest, *others = [*pools.values()] or [()]
            _names([*kept, *(level for levels in others for level in levels)])
            if rarest or len(kept) + len(pools) < 2 or (name in self.pools_ and not pools):
                raise PermGradError(
                    "a categorical column has two 0/1 columns or more, and its rarest pool lists no level"
                )


def _names(values: Any) -> tuple[str, ...]:
    """Return names that were read, if they are names, and differ."""
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise PermGradError(f"an encoder has lists of names, got {listing([values])}")
    if len(set(values)) < len(values):
        raise PermGradError(f"names in an encoder's lists differ, got {listing(values)}")
    return tuple(values)
