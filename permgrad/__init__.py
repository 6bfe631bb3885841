"""permgrad: hybrid neural networks on tables, and a feature ranking that you can defend.

A table's rows become images; a network with an MLP on the row and a CNN on its image is trained; and
PermGrad fuses permutation importance, Grad-CAM and branch ablation into one ranking of the columns.

Names are imported when they are first used: ``import permgrad`` itself is fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from permgrad import toy
    from permgrad.augmentation import Augmentation, StainJitter
    from permgrad.averaging import AveragedClassifier, AveragedRegressor
    from permgrad.cells import Cells, read_cells
    from permgrad.config import Settings, read_settings
    from permgrad.datasets import list_datasets, load_dataset
    from permgrad.derived import DerivedColumns
    from permgrad.encoding import ColumnEncoder
    from permgrad.epoch_scores import EpochScores
    from permgrad.errors import FileFormatError, PermGradError, UnfittedError
    from permgrad.estimators import HybridClassifier, HybridRegressor
    from permgrad.evaluation.agreement import compare_rankings
    from permgrad.evaluation.comparison import Comparison, compare_models
    from permgrad.evaluation.referee import evaluate_ranking
    from permgrad.evaluation.result import RankingEvaluation
    from permgrad.evaluation.roc import auc_interval, compare_auc
    from permgrad.evaluation.stability import RankStability, rank_stability
    from permgrad.importance.ablation import BranchWeights, branch_weights
    from permgrad.importance.branches import CutModel, cut_model
    from permgrad.importance.correlated import correlated_groups
    from permgrad.importance.fusion import fuse
    from permgrad.importance.grad_cam import grad_cam, grad_cam_maps
    from permgrad.importance.masking import masking_curve, random_masking
    from permgrad.importance.permgrad import PUBLISHED, rank_features
    from permgrad.importance.permutation import permutation_importance
    from permgrad.importance.ranking import FeatureRanking
    from permgrad.importance.scored import score_importance
    from permgrad.importance.weights import weight_importance
    from permgrad.layout import FeatureLayout, fit_layout
    from permgrad.mlp import MLPClassifier
    from permgrad.models.backbone import backbone_classifier
    from permgrad.panels import Panel, choose_panel, panel_of, score_panel
    from permgrad.patches.checks import PatchCheck, check_patches
    from permgrad.patches.files import Patches
    from permgrad.patches.heat import patch_heat
    from permgrad.patches.predicting import predict_patches, write_submission
    from permgrad.patches.training import PatchTraining, fit_patches
    from permgrad.saving import load
    from permgrad.scoring import get_scorer
    from permgrad.selector_classifier import SelectorClassifier
    from permgrad.selectors import ClampedSelector, Selector, SelectorPenalty, StochasticSelector
    from permgrad.split_files import read_or_write_splits
    from permgrad.splitting import capped_split
    from permgrad.table import Table
    from permgrad.tuning.api import tune
    from permgrad.tuning.results import TuneResult

__version__ = "0.1.0"

_HOMES = {
    "Augmentation": "augmentation",
    "AveragedClassifier": "averaging",
    "AveragedRegressor": "averaging",
    "BranchWeights": "importance.ablation",
    "Cells": "cells",
    "ClampedSelector": "selectors",
    "ColumnEncoder": "encoding",
    "Comparison": "evaluation.comparison",
    "CutModel": "importance.branches",
    "DerivedColumns": "derived",
    "EpochScores": "epoch_scores",
    "FeatureLayout": "layout",
    "FeatureRanking": "importance.ranking",
    "FileFormatError": "errors",
    "HybridClassifier": "estimators",
    "HybridRegressor": "estimators",
    "MLPClassifier": "mlp",
    "PUBLISHED": "importance.permgrad",
    "Panel": "panels",
    "PatchCheck": "patches.checks",
    "PatchTraining": "patches.training",
    "Patches": "patches.files",
    "PermGradError": "errors",
    "RankStability": "evaluation.stability",
    "RankingEvaluation": "evaluation.result",
    "Selector": "selectors",
    "SelectorClassifier": "selector_classifier",
    "SelectorPenalty": "selectors",
    "Settings": "config",
    "StainJitter": "augmentation",
    "StochasticSelector": "selectors",
    "Table": "table",
    "TuneResult": "tuning.results",
    "UnfittedError": "errors",
    "auc_interval": "evaluation.roc",
    "backbone_classifier": "models.backbone",
    "branch_weights": "importance.ablation",
    "capped_split": "splitting",
    "check_patches": "patches.checks",
    "choose_panel": "panels",
    "compare_auc": "evaluation.roc",
    "compare_models": "evaluation.comparison",
    "compare_rankings": "evaluation.agreement",
    "correlated_groups": "importance.correlated",
    "cut_model": "importance.branches",
    "evaluate_ranking": "evaluation.referee",
    "fit_layout": "layout",
    "fit_patches": "patches.training",
    "fuse": "importance.fusion",
    "get_scorer": "scoring",
    "grad_cam": "importance.grad_cam",
    "grad_cam_maps": "importance.grad_cam",
    "list_datasets": "datasets",
    "load": "saving",
    "load_dataset": "datasets",
    "masking_curve": "importance.masking",
    "panel_of": "panels",
    "patch_heat": "patches.heat",
    "permutation_importance": "importance.permutation",
    "predict_patches": "patches.predicting",
    "random_masking": "importance.masking",
    "rank_features": "importance.permgrad",
    "rank_stability": "evaluation.stability",
    "read_cells": "cells",
    "read_or_write_splits": "split_files",
    "read_settings": "config",
    "score_importance": "importance.scored",
    "score_panel": "panels",
    "tune": "tuning.api",
    "weight_importance": "importance.weights",
    "write_submission": "patches.predicting",
}

__all__ = [
    "PUBLISHED",
    "Augmentation",
    "AveragedClassifier",
    "AveragedRegressor",
    "BranchWeights",
    "Cells",
    "ClampedSelector",
    "ColumnEncoder",
    "Comparison",
    "CutModel",
    "DerivedColumns",
    "EpochScores",
    "FeatureLayout",
    "FeatureRanking",
    "FileFormatError",
    "HybridClassifier",
    "HybridRegressor",
    "MLPClassifier",
    "Panel",
    "PatchCheck",
    "PatchTraining",
    "Patches",
    "PermGradError",
    "RankStability",
    "RankingEvaluation",
    "Selector",
    "SelectorClassifier",
    "SelectorPenalty",
    "Settings",
    "StainJitter",
    "StochasticSelector",
    "Table",
    "TuneResult",
    "UnfittedError",
    "__version__",
    "auc_interval",
    "backbone_classifier",
    "branch_weights",
    "capped_split",
    "check_patches",
    "choose_panel",
    "compare_auc",
    "compare_models",
    "compare_rankings",
    "correlated_groups",
    "cut_model",
    "evaluate_ranking",
    "fit_layout",
    "fit_patches",
    "fuse",
    "get_scorer",
    "grad_cam",
    "grad_cam_maps",
    "list_datasets",
    "load",
    "load_dataset",
    "masking_curve",
    "panel_of",
    "patch_heat",
    "permutation_importance",
    "predict_patches",
    "random_masking",
    "rank_features",
    "rank_stability",
    "read_cells",
    "read_or_write_splits",
    "read_settings",
    "score_importance",
    "score_panel",
    "toy",
    "tune",
    "weight_importance",
    "write_submission",
]


def __getattr__(name: str) -> Any:
    if name == "toy":
        return import_module("permgrad.toy")
    if name not in _HOMES:
        raise AttributeError(f"module 'permgrad' has no attribute {name!r}")
    return getattr(import_module(f"permgrad.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
