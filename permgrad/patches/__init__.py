"""Labelled image patches, each a file of its own: checked, read in parallel, learned, predicted, looked into.

The order is that of the work: `checks` (which patches can be used) → `files` (ids, files, labels) → `reading`
(batches) → `training` → `predicting` (eight symmetries, the submission) → `heat` (Grad-CAM).
"""
