"""From a trained network to a bundle: ONNX, optimised, quantised, verified."""
