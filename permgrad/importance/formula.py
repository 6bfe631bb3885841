"""How branches become one ranking: the choices of a formula as one value, checked once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self, get_args

from permgrad.errors import PermGradError, listing

CHOICES = {
    "weights": ("shapley", "softmax"),
    "baseline": ("shuffled", "mean", "zero"),
    "fusion_scale": ("share", "min-max"),
    "attribution": ("grad_cam", "layer_cam", "gradient_input"),
    "readout": ("cell", "bilinear"),
}
"""What may stand in each field of a `Formula`; a layer may have any name."""


Choice = Literal["game", "last in", "fused", "published"]


@dataclass(frozen=True)
class Formula:
    """How the branches' explanations are scored, weighted and added.

    Attributes
    ----------
    weights : {"shapley", "softmax"}
        How branches are weighted, see `branch_weights`.
    baseline : {"shuffled", "mean", "zero"}
        What replaces a branch that is switched off, see `branch_weights`.
    fusion_scale : {"share", "min-max"}
        How the branches' scores are put on one scale, see `fuse`.
    attribution : {"gradient_input", "grad_cam", "layer_cam"}
        How the image branch's features are scored, see `grad_cam_maps`.
    layer : str
        Convolution that Grad-CAM and LayerCAM use: "last", "first" or its name.
    readout : {"cell", "bilinear"}
        How a feature's score is read from a heat map, see `grad_cam`.

    Raises
    ------
    PermGradError
        If a choice is unknown.

    Examples
    --------
    >>> pg.Formula(weights="softmax", attribution="grad_cam").readout
    'cell'
    >>> pg.PUBLISHED.fusion_scale
    'min-max'
    """

    weights: str = "shapley"
    baseline: str = "shuffled"
    fusion_scale: str = "share"
    attribution: str = "gradient_input"
    layer: str = "last"
    readout: str = "cell"

    def __post_init__(self) -> None:
        for name in CHOICES:
            check_choice(name, getattr(self, name))
        if not isinstance(self.layer, str):
            raise PermGradError(f"layer must be 'last', 'first' or a convolution's name, got {self.layer!r}")

    def to_settings(self) -> dict[str, str]:
        """Return the choices by name, as a ranking's settings hold them.

        Examples
        --------
        >>> pg.Formula().to_settings()["weights"]
        'shapley'
        """
        return asdict(self)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """Build the formula from a ranking's settings; choices that they lack take the default.

        Examples
        --------
        >>> pg.Formula.from_settings({"weights": "softmax"}).weights
        'softmax'
        """
        return cls(**{field.name: settings[field.name] for field in fields(cls) if settings.get(field.name)})


def check_choice(name: str, value: Any) -> None:
    """Raise an error unless `value` may stand in this field of a formula."""
    if value not in CHOICES[name]:
        raise PermGradError(f"{name} must be one of {listing(CHOICES[name])}, got {value!r}")


PUBLISHED = Formula("softmax", "zero", "min-max", "grad_cam", "last", "cell")
"""The formula as published."""


def named_formula(name: str) -> Formula | Literal["game", "last in"]:
    """Return the formula of a name; the game, and what features are worth as the last to be seen, are none.

    Raises
    ------
    PermGradError
        If there is no such name.
    """
    if name in ("game", "last in"):
        return name  # type: ignore[return-value]
    if name == "published":
        return PUBLISHED
    if name == "fused":
        return Formula()
    raise PermGradError(f"formula must be a permgrad.Formula or one of {listing(get_args(Choice))}, got {name!r}")


def formula_of(settings: Mapping[str, Any]) -> Formula | Literal["game", "last in"] | None:
    """Return what to pass as ``formula`` to get a ranking of these settings again."""
    used = settings.get("formula")
    if used == "fused":
        return Formula.from_settings(settings)
    return used if used in ("game", "last in") else None
