"""Weights of others: published names, downloads, files of both frameworks, conversions."""
