"""What a person types: one file a verb. Everything heavy is imported inside the functions."""
