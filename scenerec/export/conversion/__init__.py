"""Networks of both frameworks become ONNX graphs and TFLite files."""
