"""A table, from a file to numbers, and where its rows go."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submodules=["toy"])
