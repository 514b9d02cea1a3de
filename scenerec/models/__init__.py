"""Networks: torchvision's classifiers in PyTorch and, derived from the same definition, in Keras."""
