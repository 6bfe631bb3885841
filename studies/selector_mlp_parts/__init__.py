"""The parts of selector_mlp.py."""
