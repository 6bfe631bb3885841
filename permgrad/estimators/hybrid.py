"""The hybrid network as scikit-learn estimators: raw tables in, predictions and feature rankings out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from sklearn.base import RegressorMixin

from permgrad.data.float32 import float32_offset
from permgrad.data.table import Task
from permgrad.errors import PermGradError, as_permgrad_error, check_fitted
from permgrad.estimators._base import NetworkClassifier
from permgrad.estimators._hybrid import HybridEstimator
from permgrad.estimators._predicting import predicted_by
from permgrad.layers.temperature import fit_temperature
from permgrad.metrics.losses import squared_error
from permgrad.training.fit import Rows

MAX_TARGET = 1e15
"""Of a regression's target: its square, and losses that are sums of it, are float32 numbers too."""


@dataclass(kw_only=True, repr=False, eq=False)
class HybridClassifier(NetworkClassifier, HybridEstimator):
    """Hybrid network (MLP on the row, CNN on its image) that classifies rows and ranks columns.

    Settings that are None take the preset's value.

    Parameters
    ----------
    preset : {"default", "fast", "best", "published"}
        See `permgrad.estimators.presets`: the network that does best on many tables; a smaller one for a first look;
        the average of five networks, each trained on different rows; the network of the PermGrad notebooks.
    branches : tuple of {"tabular", "image"}
        Both branches, or one of them: an MLP or a CNN alone.
    layout : {"tinto", "igtd", "deepinsight", "fotomics", "refined"}
        How features are placed in the image, see `permgrad.fit_layout`.
    image_size : int, "compact" or "wide", optional
        Height and width of the image. "compact" and "wide" depend on the number of columns: "compact" has 1.5 times as
        many pixels as columns; "wide" has so many that few columns would share a place (as published).
    unique : bool
        Whether each feature gets its own pixel.
    scaling : {"standard", "min-max", "quantile"}, optional
        "standard" standardises columns for the tabular branch, and scales them to [0, 1] for the image. The others
        scale them to [0, 1] for both: linearly, or by rank among the training rows, which shortens long tails
        (`permgrad.layers.quantile.QuantileScale`).
    embedding : {"bins", "piecewise", "periodic", "none"}, optional
        How each scaled column enters the tabular branch: with bins in addition to the number; as bins only; as waves,
        for periodic relations; or as it is. See `permgrad.layers.embeddings`.
    embedding_size : int, optional
        Number of bins of a column (fewer if there are many columns), or of frequencies of a periodic embedding.
    ensemble_size : int, optional
        Number of networks in a batch ensemble; 1 for a single network. They share weight matrices and CNN, each has its
        own loss in training, and predictions are their mean; see `permgrad.layers.batch_ensemble`. A preset's number is
        reduced if columns times networks exceed 32,768.
    dense_units : tuple of int, optional
        Dense layers of the tabular branch.
    downsampling : {"stride", "max_pool"}, optional
        How a convolution block halves the image: by a stride of 2, or by max-pooling.
    image_network : {"cnn", "vit"}, optional
        What reads the image: convolutions, or a small vision transformer.
    n_conv_layers, base_filters : int, optional
        Number of convolution blocks, and of filters in the first one (each further block has twice as many). For "vit",
        the number of transformer blocks, and a quarter of the width of a token.
    head_units : tuple of int, optional
        Dense layers after the branches meet.
    dropout : float, optional
    batch_norm : bool, optional
        Whether layers are followed by BatchNorm.
    gated_image : bool, optional
        Whether the image branch's output is multiplied by one learned number that starts at 0.
    zero_output : bool, optional
        Whether the network starts by predicting the mean, or the class frequencies.
    calibrated : bool, optional
        Whether probabilities are calibrated on the validation rows, by a temperature
        (`permgrad.layers.temperature`). The classes' order stays.
    screening : bool, optional
        Whether to select columns first, if training rows are few for the number of columns (200 to 20,000 rows, but
        fewer than 64 per column, and at most 1,000 columns). Columns that do not help to predict are masked, with 20
        rows or more per column only where this predicts better on the validation rows; columns that others replace are
        noisy in training, so that the network uses them all. See
        `permgrad.estimators._screening`.
    n_networks : int, optional
        Networks to train and average. Without validation data, each network leaves out a different part of the rows to
        decide when to stop, so together they use all rows.
    learning_rate : float, optional
        Peak of the schedule.
    schedule : {"constant", "one_cycle", "cosine"}, optional
        Schedule of the learning rate; "one_cycle" as published.
    optimizer : {"adamw", "adam"}, optional
    weight_decay : float, optional
        Only for "adamw".
    batch_size : int or "auto", optional
        "auto": about 16 steps per epoch, of 32 to 256 rows each; more rows for large tables.
    epochs : int, optional
    patience : int or "auto", optional
        Epochs without a better validation loss after which training stops; with "one_cycle", counted from the peak of
        the learning rate. "auto": 12, or as many as 250 steps take.
    validation_fraction : float
        Share of the training rows that is set aside for early stopping if `fit` gets no validation data.
    precision : {"auto", "float32", "mixed_float16", "mixed_bfloat16"}
        "auto": mixed precision on an accelerator, float32 on a CPU.
    random_state : int, RandomState or None
        Seed of weights, dropout, layout, row order, validation split and permutations. Two fits with the same number
        give equal results on one machine; from a RandomState, each fit draws a new number.
    verbose : bool
        Show progress bars.
    n_jobs : int, optional
        Processes that train several networks, if there are no callbacks, and rank by them; -1 for one per core. By
        default, what ``joblib.parallel_config`` says; see `permgrad.parallel.run`.
    devices : int or list of int or str, optional
        How many accelerators, or which ones, to split each training step between; without accelerators, processors. By
        default one. The batch size becomes a multiple of their number.
    class_weight : "balanced" or dict of label to float, optional
        Weight of each class in the loss, for training and early stopping; only for classification.

    Attributes
    ----------
    networks_ : list of keras.Model
        They take encoded rows, see ``encoder_``. Scaling and image are layers of the networks.
    network_ : keras.Model
        The first of them.
    encoder_ : ColumnEncoder
    layout_ : FeatureLayout or None
    classes_ : ndarray
    history_ : dict of lists
        Losses, metric and learning rate of each epoch.
    kept_epoch_ : int
        Epoch, from 1, whose weights were kept.
    random_state_ : int
    n_features_in_ : int
    feature_names_in_ : ndarray
        Only if X had column names.

    Notes
    -----
    There is no ``feature_importances_``: the weights of a first layer ignore the image branch. See `rank_features`.

    Examples
    --------
    >>> network = pg.HybridClassifier(preset="fast", epochs=20, random_state=1)
    >>> network.description()
    'preset fast, but epochs 20'
    >>> network.settings()["ensemble_size"]
    4
    """

    class_weight: str | Mapping[Any, float] | None = None

    def _output_layer(self, target: np.ndarray) -> dict[str, Any]:
        return {"n_outputs": len(self.classes_)}

    def _class_shares(self, train: Rows) -> np.ndarray:
        weight = train[2] if len(train) == 3 else None
        counts = np.bincount(train[1], weight, minlength=len(self.classes_)) + 0.5
        return counts / counts.sum()

    def _after_training(self, network: Any, validation: Rows | None, number: int, shared: bool) -> None:
        if not self.settings()["calibrated"] or validation is None:
            return
        probabilities = predicted_by(network, validation[0])
        network.get_layer("temperature").temperature.assign(fit_temperature(probabilities, *validation[1:]))


class HybridRegressor(RegressorMixin, HybridEstimator):
    """Hybrid network (MLP on the row, CNN on its image) that predicts a number and ranks columns.

    Parameters and attributes are those of `HybridClassifier`, without those for classes. The network predicts
    in the target's own unit; its last layer undoes a standardisation fitted on the training rows. (If float32
    is too coarse for the spread of the target, a constant, ``target_offset_``, is subtracted first.)

    Attributes
    ----------
    residuals_ : ndarray
        Absolute errors on the validation rows, ascending: `predict_interval` uses them.
    residual_weights_ : ndarray or None
        Weight of the row of each; None if all weights are equal.

    Examples
    --------
    >>> pg.HybridRegressor(preset="fast", epochs=20).description()
    'preset fast, but epochs 20'
    >>> reg.predict(test.X.iloc[:, :3]).shape
    (30,)
    """

    _task: ClassVar[Task] = "regression"
    residuals_: np.ndarray
    residual_weights_: np.ndarray | None

    def predict(self, X: Any) -> np.ndarray:
        """Return the predicted value of each row, shape (n_rows,).

        Examples
        --------
        >>> reg.predict(test.X.iloc[:, :3]).shape
        (30,)
        """
        check_fitted(self)
        predicted = self._network_output(X)[:, 0]
        return predicted.astype(float) + self.target_offset_ if self.target_offset_ else predicted

    def predict_interval(self, X: Any, coverage: float = 0.9) -> np.ndarray:
        """Return an interval for each row's target, shape (n_rows, 2): the prediction ± one half-width for all rows.

        Parameters
        ----------
        X
            As for `predict`.
        coverage : float
            Share of rows whose target should lie in its interval, between 0 and 1. On average, at least this share of
            rows drawn like the validation rows lies inside. (Validation rows also decide when training stops, which
            makes the width a little too small if they are few.) If they have weights, rows are drawn by weight.

        Returns
        -------
        ndarray of shape (n_rows, 2), float64
            Lower and upper ends.

        Raises
        ------
        UnfittedError
        PermGradError
            If there were no validation rows, or too few for this coverage.

        References
        ----------
        Lei, G'Sell, Rinaldo, Tibshirani & Wasserman, Distribution-Free Predictive Inference for Regression, JASA 113
        (2018): split conformal intervals. Tibshirani, Barber, Candès & Ramdas (NeurIPS 2019) for rows that weigh; the
        new row weighs what a row drawn by the weights does on average.

        Examples
        --------
        >>> ends = reg.predict_interval(test.X.iloc[:, :3], coverage=0.8)
        >>> ends.shape, bool((ends[:, 0] < ends[:, 1]).all())
        ((30, 2), True)
        """
        check_fitted(self)
        if not 0 < coverage < 1:
            raise PermGradError(f"coverage must be between 0 and 1, got {coverage}")
        width = self.half_width(coverage)
        if width is None:
            needed = math.ceil(round(coverage / (1 - coverage), 9))
            weigh = "" if self.residual_weights_ is None else " that weigh alike"
            raise PermGradError(
                f"a coverage of {coverage:g} needs at least {needed} validation rows{weigh}, this network had"
                f" {len(self.residuals_)}"
            )
        predicted = np.asarray(self.predict(X), float)
        return predicted[:, None] + np.array([-1, 1]) * width

    def half_width(self, coverage: float) -> float | None:
        """Return half the width of intervals with this coverage; None if there are too few validation rows for it.

        Examples
        --------
        >>> reg.half_width(0.9) > 0
        True
        """
        n, weights = len(self.residuals_), self.residual_weights_
        weights = np.ones(n) if weights is None else weights
        if not n:
            return None
        reached, new = np.cumsum(weights), (weights**2).sum() / weights.sum()
        # Rounded: 0.9 / 0.1 is a little more than 9.
        at = int(np.searchsorted(np.round(reached / new, 9), round(coverage * (reached[-1] / new + 1), 9)))
        return float(self.residuals_[at]) if at < n else None

    def state_to_dict(self) -> dict[str, Any]:
        """Return everything that was fitted besides the network, ready for JSON.

        Examples
        --------
        >>> len(reg.state_to_dict()["residuals"]) == len(reg.residuals_)
        True
        """
        return {
            **super().state_to_dict(),
            "target_offset": self.target_offset_,
            "residuals": self.residuals_.tolist(),
            "residual_weights": None if self.residual_weights_ is None else self.residual_weights_.tolist(),
        }

    def _after_training(self, network: Any, validation: Rows | None, number: int, shared: bool) -> None:
        """Keep the absolute errors on rows that the network was not fitted on.

        Of several networks with rows of their own, all errors; of those that share the rows, the errors of their mean.
        """
        if shared or not number:
            self.residuals_, self.residual_weights_ = np.array([]), None
        if validation is None:
            return
        output = self._predicted(validation[0]) if shared else predicted_by(network, validation[0])
        residuals = np.concatenate([self.residuals_, np.abs(output[:, 0].astype(float) - validation[1])])
        order = np.argsort(residuals, kind="stable")
        if len(validation) == 3:  # as those of all other networks
            earlier = np.array([]) if self.residual_weights_ is None else self.residual_weights_
            self.residual_weights_ = np.concatenate([earlier, validation[2].astype(float)])[order]
        self.residuals_ = residuals[order]

    def restore_state(self, content: dict[str, Any], networks: list[Any]) -> None:
        """Restore what `state_to_dict` returned, and the networks that were saved with it.

        Examples
        --------
        >>> again = pg.HybridRegressor(**reg.get_params())
        >>> again.restore_state(reg.state_to_dict(), reg.networks_)
        >>> again.half_width(0.9) == reg.half_width(0.9)
        True
        """
        super().restore_state(content, networks)
        self.target_offset_ = content["target_offset"]
        weights = content["residual_weights"]
        self.residuals_ = np.array(content["residuals"], float)
        self.residual_weights_ = None if weights is None else np.array(weights, float)

    def _fit_target(self, y: pd.Series) -> None:
        values = y.to_numpy(float)
        with np.errstate(over="ignore"):
            largest, spread = np.abs(values).max(), values.std()
        if not largest <= MAX_TARGET or not spread >= 1 / MAX_TARGET:
            raise PermGradError(
                f"the target's largest value is {largest:.2g} and its standard deviation {spread:.2g}; the network"
                f" computes in float32 and needs at most {MAX_TARGET:.0e} and at least {1 / MAX_TARGET:.0e}; choose"
                " another unit"
            )
        self.target_offset_ = float32_offset(values)

    def _encode_target(self, y: pd.Series) -> np.ndarray:
        with as_permgrad_error():
            return (np.asarray(y, np.float64) - self.target_offset_).astype(np.float32)

    def _output_layer(self, target: np.ndarray) -> dict[str, Any]:
        return {"n_outputs": 1, "target_mean": float(target.mean()), "target_std": float(target.std()) or 1.0}

    def _row_losses(self, target: np.ndarray, output: np.ndarray) -> np.ndarray:
        return squared_error(target, output) / self.network_.get_layer("prediction").scale ** 2
