"""Peers that `tests.bench.data` runs in environments of their own."""
