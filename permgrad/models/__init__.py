"""Builders: a config in, a compiled-ready `keras.Model` out."""
