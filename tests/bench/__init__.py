"""Benchmarks: one command each, against a named peer in the same run, a row a run in the CSV beside it."""
