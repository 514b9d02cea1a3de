"""Scene classifiers trained in PyTorch and TensorFlow, with the same network, weights, data order and results.

This package is the library: it knows no Ray and can be used in a notebook. `cluster` (where work runs), `jobs`
(what runs there) and `serve` (what answers HTTP) stand on it.
"""

__version__ = "0.1.0"
