"""What in an image speaks for an answer: class activation maps."""
