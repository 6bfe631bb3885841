"""Pictures of results. Nothing is computed here but positions and colours.

Every function returns a `matplotlib.figure.Figure`: shown by a notebook, written by its ``savefig``. Public names are
declared in ``__init__.pyi`` alone.
"""

import lazy_loader
import matplotlib.pyplot  # noqa: F401 - makes notebooks show figures

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
