"""Results where people track their runs: one record of a run → MLflow, TensorBoard."""
