"""Networks that answer: from a checkpoint, a weight file or a bundle, in any runtime."""
