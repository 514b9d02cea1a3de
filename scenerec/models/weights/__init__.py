"""Weights from elsewhere: published names, downloads, the files of both frameworks, conversions."""
