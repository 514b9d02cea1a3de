"""ONNX graphs, whichever framework they come from: completed, made smaller, read for what runtimes take of them."""
