"""What answers: bundles, and everything that can predict, without a training framework where none is needed."""
