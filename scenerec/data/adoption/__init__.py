"""Shards that somebody else wrote: from a pattern of names to a manifest beside them."""
