"""The Keras twin of a torch classifier: same layers and weights, channels-last, from its torch.fx graph.

`layers`, `attention_layers` and `bindings` need no torch: they are what a saved twin (`.keras`) is loaded with.
"""

import os

# Before Keras is imported by any module of this package.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
