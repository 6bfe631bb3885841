"""How a model responds as a column changes: effects of columns and pairs, and interactions."""
