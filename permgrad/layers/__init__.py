"""Keras layers that belong to a table."""
