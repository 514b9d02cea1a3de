"""The parts of an image that speak for an answer: class activation maps."""
