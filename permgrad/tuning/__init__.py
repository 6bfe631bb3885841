"""Tuning: spaces → trials, run by one process or many on one Optuna study → the best network and its ranking."""

from permgrad.errors import require

require("tune", "a tuning study", "optuna", "optuna_dashboard", "optuna_integration", "sqlalchemy", "filelock")
