"""How well the hybrid predicts, beside other models of tables: ``python -m benchmarks.predictive``."""
