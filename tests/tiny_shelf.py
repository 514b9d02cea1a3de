"""The tiny model in two versions, ready to be served."""

from pathlib import Path

from serve.loaded_version import EngineOptions, load_version
from serve.shelf import Shelf, Weighted
from tests.tiny_bundle import make_tiny_bundle

SCALES = {"1": 0.05, "2": 0.02}
"""Of the logits, by version."""


def make_tiny_shelf(folder: Path, options: EngineOptions | None = None) -> Shelf:
    """`tiny` in two versions, whose bundles are written to `folder`/VERSION; 2 answers whoever names none."""
    first, second = (
        load_version("tiny", number, make_tiny_bundle(folder / number, scale), options or EngineOptions())
        for number, scale in SCALES.items()
    )
    shelf = Shelf()
    shelf.replace({"tiny": [Weighted(second, 1.0), Weighted(first, 1e-12)]})
    return shelf
