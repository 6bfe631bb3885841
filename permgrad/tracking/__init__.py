"""Log results to trackers: one record of a run → MLflow, TensorBoard."""
