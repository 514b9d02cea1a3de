"""Our HTTP interface under uvicorn, without Ray. BUNDLE and MODEL are in the environment."""

import os

from scenerec.inference.bundles.bundle import open_bundle
from serve.api import Api
from serve.loaded_version import EngineOptions, load_version
from serve.shelf import Shelf, Weighted


def make() -> Api:
    """uvicorn's factory."""
    shelf, name = Shelf(), os.environ["MODEL"]
    version = load_version(name, "1", open_bundle(os.environ["BUNDLE"]), EngineOptions())
    shelf.replace({name: [Weighted(version, 1.0)]})
    return Api(shelf)
