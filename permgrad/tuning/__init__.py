"""Tuning: spaces → trials, run by one process or many on one Optuna study → the best network and its ranking."""
