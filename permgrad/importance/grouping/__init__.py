"""Groups of columns."""
