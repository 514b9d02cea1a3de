"""Training, defined once in neutral terms (schedules, order, checkpoints) and looped over in both frameworks."""
