"""permgrad: hybrid neural networks on tables, and a feature ranking that you can defend.

A table's rows become images; a network with an MLP on the row and a CNN on its image is trained; and
PermGrad fuses permutation importance, Grad-CAM and branch ablation into one ranking of the columns.

Public names are declared in ``__init__.pyi`` alone. Each is imported when it is first used: ``import permgrad`` itself
is fast.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
