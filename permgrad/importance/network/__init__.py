"""A model in parts that explainers work with."""
