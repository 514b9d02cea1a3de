"""Peers that `tests.bench.pretrain` runs in environments of their own."""
