"""Searching for a better training config: spaces, samplers, budgets, trials and what they showed."""
