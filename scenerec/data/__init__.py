"""Scenes on disk and in object storage: layouts, packing, data order and the input pipelines of both frameworks."""
