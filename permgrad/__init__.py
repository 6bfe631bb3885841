"""permgrad: hybrid neural networks on tables, and a feature ranking that you can defend.

A table's rows become images. A network with an MLP on the row and a CNN on its image is trained. One game tells what
each column is worth to it, in each branch, in units of the loss.

Public names are declared in ``__init__.pyi`` alone. Each is imported when it is first used: ``import permgrad`` itself
is fast.
"""

import os

import lazy_loader

# oneDNN's products and convolutions halve the time of a fit and of a ranking. TensorFlow takes them of itself on some
# processors only, and reads this once, as it is imported: so it stands here, in front of any import of Keras.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
