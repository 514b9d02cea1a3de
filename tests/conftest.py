"""What the tests feed on: drawn scenes, packed into several small shards."""

import atexit
import gc
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from scenerec.config.train import TrainConfig
from scenerec.data.packing.pack import PackRequest, pack
from scenerec.data.packing.pack_plan import PackOptions
from scenerec.data.synthetic import draw_scenes
from scenerec.large_imports import large_imports
from tests.web import WebServer

UNIT = Path(__file__).parent / "unit"
MakeConfig = Callable[..., TrainConfig]

if "PYTEST_XDIST_WORKER" in os.environ:
    # Several workers share the cores: threads of their own would only wait for one another.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


class _TorchvisionFirst(MetaPathFinder):
    """Imports torchvision before tensorflow, whichever test imports that first: the other way round it crashes."""

    def find_spec(self, name: str, path: object, target: object = None) -> None:
        if name == "tensorflow":
            import torchvision  # noqa: F401


sys.meta_path.insert(0, _TorchvisionFirst())

_imports = ExitStack()
_imports.enter_context(large_imports())  # to the end of the collection


@pytest.hookimpl(tryfirst=True)  # before pytest chooses by -m
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever is no unit test is slow."""
    for item in items:
        if UNIT not in item.path.parents:
            item.add_marker(pytest.mark.slow)


def pytest_collection_finish() -> None:
    """What is imported by now stays, and is looked at no more; the rest less often than by itself."""
    _imports.close()
    gc.freeze()
    gc.set_threshold(5_000, 10, 4)
    atexit.register(gc.unfreeze)  # else nanobind reports what Python leaves at its end as leaked


# A machine that others use as well is slow at times.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def scenes_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ImageFolder of four classes, 25 training and 9 validation images each, 64 px."""
    folder = tmp_path_factory.mktemp("scenes") / "images"
    draw_scenes(folder, classes=4, train_per_class=25, val_per_class=9, size=64, seed=1)
    return folder


@pytest.fixture(scope="session")
def scenes(scenes_folder: Path) -> Path:
    """The same, packed: `train` and `val`, each in several shards."""
    destination = scenes_folder.parent / "packed"
    pack(PackRequest(source=scenes_folder, destination=str(destination), options=PackOptions(shard_mb=0.03)))
    return destination


@pytest.fixture(scope="session")
def located_scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Packed scenes of which two look alike each, and coordinates that tell them apart; `train` and `val`, 64 px.

    Four classes, 25 training and 9 validation images each.
    """
    folder = tmp_path_factory.mktemp("located")
    draw_scenes(folder / "images", classes=4, train_per_class=25, val_per_class=9, size=64, seed=1, coordinates="place")
    request = PackRequest(
        source=folder / "images",
        destination=str(folder / "packed"),
        coordinates=folder / "images" / "coordinates.csv",
        options=PackOptions(shard_mb=0.03),
    )
    pack(request)
    return folder / "packed"


def small_config(scenes: Path, output: Path, /, **blocks: Any) -> TrainConfig:
    """A training config over `scenes`; keywords such as `optimize={"lr": 0.1}` are merged into its blocks."""
    document: dict[str, Any] = {
        "kind": "train",
        "name": "test",
        "framework": "torch",
        "data": {"train": f"{scenes}/train", "val": f"{scenes}/val", "image_size": 32},
        "model": {"arch": "resnet18"},
        "optimize": {"epochs": 2, "global_batch_size": 16, "lr": 0.02},
        "output": str(output),
    }
    for name, value in blocks.items():
        document[name] = {**document.get(name, {}), **value} if isinstance(value, dict) else value
    return TrainConfig.model_validate(document)


@pytest.fixture
def make_config(scenes: Path, tmp_path: Path) -> MakeConfig:
    """`small_config` whose runs are the test's own."""
    return partial(small_config, scenes, tmp_path / "runs")


@pytest.fixture(scope="session")
def make_shared_config(scenes: Path) -> MakeConfig:
    """`small_config` whose runs are kept for other tests, each under a name of its own."""
    return partial(small_config, scenes, scenes.parent / "runs")


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    """A web server on the loopback, which no proxy stands before."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with WebServer() as server:
        yield server
