import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save, save_file

from scenerec.config.train import TrainConfig
from scenerec.errors import ModelError, NotFoundError, StorageError
from scenerec.models import torch_model, zoo
from scenerec.models.geo import GeoSpec
from scenerec.models.neutral import State
from scenerec.models.torch_outline import state_shapes
from scenerec.models.weights.conversion import convert
from scenerec.storage import patience
from scenerec.training.initial import describe_weights, initial_state, prepare_weights
from scenerec.training.weight_source import WeightSource
from tests.clock import Clock, set_clock
from tests.faulty_proxy import Fault, faulty_store
from tests.web import WebServer

ARCH = "squeezenet1_1"  # its head is a convolution
HEAD = {"classifier.1.weight", "classifier.1.bias"}

Configure = Callable[..., TrainConfig]


@pytest.fixture
def configure(tmp_path: Path) -> Configure:
    def make(weights: str, arch: str = ARCH, geo: dict[str, Any] | None = None) -> TrainConfig:
        document: dict[str, Any] = {
            "kind": "train",
            "name": "test",
            "framework": "torch",
            "data": {"train": "/train", "val": "/val"},
            "model": {"arch": arch, "weights": weights, "geo": geo},
            "optimize": {"epochs": 1, "global_batch_size": 4, "lr": 0.1},
            "output": str(tmp_path / "runs"),
        }
        return TrainConfig.model_validate(document)

    return make


def state(classes: int, seed: int, arch: str = ARCH) -> State:
    return torch_model.state(torch_model.build(arch, classes, seed))


def torch_file(classes: int, seed: int, arch: str = ARCH) -> bytes:
    file = io.BytesIO()
    torch.save(torch_model.build(arch, classes, seed).state_dict(), file)
    return file.getvalue()


def taken(start: State, source: State) -> set[str]:
    return {key for key in start if start[key].shape == source[key].shape and np.array_equal(start[key], source[key])}


def test_none_is_the_seeds(configure: Configure) -> None:
    drawn = state(3, seed=1)
    assert initial_state(configure("none"), drawn) is drawn
    assert prepare_weights(configure("none"), 3) == "random, by optimize.seed 0"


def test_all_is_taken_where_the_classes_are_as_many(configure: Configure, tmp_path: Path) -> None:
    given, drawn = state(3, seed=1), state(3, seed=2)
    save_file(given, tmp_path / "w.safetensors")
    config = configure(f"{tmp_path}/w.safetensors")
    assert prepare_weights(config, 3) == f"{tmp_path}/w.safetensors"
    assert taken(initial_state(config, drawn), given) == set(drawn)


def test_a_head_for_other_classes_stays_as_drawn_and_it_is_said(configure: Configure, web: WebServer) -> None:
    config = configure(web.serve("/w.pth", torch_file(7, seed=1)))
    drawn, given = state(3, seed=2), state(7, seed=1)
    words = f"{web.url}/w.pth, head classifier.1 replaced (7 -> 3 classes)"
    assert prepare_weights(config, 3) == words
    web.stop()  # from here on the cache is all there is
    assert describe_weights(config, 3) == words
    start = initial_state(config, drawn)
    assert taken(start, given) >= set(given) - HEAD
    assert all(np.array_equal(start[key], drawn[key]) for key in HEAD)
    assert web.requests == ["/w.pth"]


def test_a_backbone_without_head_is_enough(configure: Configure, tmp_path: Path) -> None:
    given, drawn = state(3, seed=1), state(3, seed=2)
    save_file({key: array for key, array in given.items() if key not in HEAD}, tmp_path / "w.safetensors")
    config = configure(f"{tmp_path}/w.safetensors")
    assert prepare_weights(config, 3).endswith("have no head: classifier.1 starts random (3 classes)")
    assert taken(initial_state(config, drawn), given) >= set(given) - HEAD


def test_a_prefix_is_taken_off_and_the_plan_says_it(configure: Configure, tmp_path: Path) -> None:
    given, drawn = state(3, seed=1), state(3, seed=2)
    torch.save({f"_orig_mod.model.{key}": torch.from_numpy(array) for key, array in given.items()}, tmp_path / "w.ckpt")
    config = configure(f"{tmp_path}/w.ckpt")
    words = f"{tmp_path}/w.ckpt, without _orig_mod. and model. before its keys"
    assert prepare_weights(config, 3) == words
    assert describe_weights(config, 3) == words
    assert taken(initial_state(config, drawn), given) == set(drawn)
    headless = {f"model.{key}": array for key, array in given.items() if key not in HEAD}
    save_file(headless, tmp_path / "w.safetensors")
    config = configure(f"{tmp_path}/w.safetensors")
    assert "model. before its keys, which have no head: classifier.1 starts random" in prepare_weights(config, 3)
    assert describe_weights(config, 3) == prepare_weights(config, 3)
    assert taken(initial_state(config, drawn), given) >= set(given) - HEAD


def test_what_reads_coordinates_starts_random_over_an_image_network(configure: Configure, tmp_path: Path) -> None:
    geo = {"width": 4, "blocks": 1}
    given = state(3, seed=1)
    drawn = torch_model.state(torch_model.build(ARCH, 3, 2, GeoSpec(**geo)))
    save_file({f"model.{key}": array for key, array in given.items()}, tmp_path / "w.safetensors")
    config = configure(f"{tmp_path}/w.safetensors", geo=geo)
    words = f"{tmp_path}/w.safetensors, without model. before its keys, without coordinates: geo starts random"
    assert prepare_weights(config, 3) == describe_weights(config, 3) == words
    start = initial_state(config, drawn)
    assert taken({key: start[key] for key in given}, given) == set(given)
    assert all(np.array_equal(start[key], drawn[key]) for key in drawn if key not in given)


def test_what_reads_coordinates_is_taken_with_its_network(configure: Configure, tmp_path: Path) -> None:
    """But for the last layer of a prior over other classes; and not without being asked for."""
    geo = {"width": 4, "blocks": 1}
    given, drawn = (torch_model.state(torch_model.build(ARCH, 5, seed, GeoSpec(**geo))) for seed in (1, 2))
    save_file(given, tmp_path / "w.safetensors")
    config = configure(f"{tmp_path}/w.safetensors", geo=geo)
    assert prepare_weights(config, 5) == f"{tmp_path}/w.safetensors"
    assert taken(initial_state(config, drawn), given) == set(given)
    assert prepare_weights(config, 3).endswith("head classifier.1 replaced (5 -> 3 classes)")
    fewer = torch_model.state(torch_model.build(ARCH, 3, 2, GeoSpec(**geo)))
    assert set(fewer) - taken(initial_state(config, fewer), given) == {*HEAD, "geo.output.weight"}
    with pytest.raises(ModelError, match=r"unexpected geo\.blocks.*scenerec convert --partial"):
        prepare_weights(configure(f"{tmp_path}/w.safetensors"), 5)
    written = f"{tmp_path}/v.safetensors"
    with pytest.raises(ModelError, match=r"^geo\.\* reads coordinates, and .*: leave it out with --partial$"):
        convert(f"{tmp_path}/w.safetensors", written, "safetensors", ARCH)
    assert convert(f"{tmp_path}/w.safetensors", written, "safetensors", ARCH, partial=True).drawn == ()
    assert prepare_weights(configure(written), 5) == written


def test_what_stands_beside_a_network_can_be_left_out(configure: Configure, tmp_path: Path) -> None:
    """As the weights of the classes in the loss of a Lightning module."""
    given = {f"model.{key}": array for key, array in state(3, seed=1).items()}
    save_file({**given, "criterion.weight": np.ones(3, "float32")}, tmp_path / "w.safetensors")
    with pytest.raises(ModelError) as error:
        prepare_weights(configure(f"{tmp_path}/w.safetensors"), 3)
    assert str(error.value) == (
        f"model.weights: {tmp_path}/w.safetensors: the weights do not fit squeezenet1_1: unexpected criterion.weight; "
        "`scenerec convert --partial` writes a file without these"
    )
    done = convert(f"{tmp_path}/w.safetensors", f"{tmp_path}/v.safetensors", "safetensors", ARCH, partial=True)
    assert (done.removed, done.left_out, done.drawn) == (("model.",), ("criterion.weight",), ())
    assert prepare_weights(configure(f"{tmp_path}/v.safetensors"), 3) == f"{tmp_path}/v.safetensors"


def test_averages_are_taken_where_the_config_says_so(configure: Configure, tmp_path: Path) -> None:
    plain, averaged, drawn = state(3, seed=1), state(3, seed=3), state(3, seed=2)
    tensors = {name: {k: torch.from_numpy(v) for k, v in s.items()} for name, s in (("a", plain), ("b", averaged))}
    torch.save(
        {"model": tensors["a"], "model_ema": {"n_averaged": torch.tensor(5), **tensors["b"]}}, tmp_path / "w.pth"
    )
    config = configure(f"{tmp_path}/w.pth")
    assert taken(initial_state(config, drawn), plain) == set(drawn)
    with_averages = config.model_copy(update={"model": config.model.model_copy(update={"weights_ema": True})})
    assert prepare_weights(with_averages, 3) == f"{tmp_path}/w.pth, its moving averages"
    assert taken(initial_state(with_averages, drawn), averaged) == set(drawn)


def test_what_does_not_fit_is_refused_before_anything_is_kept(
    configure: Configure, web: WebServer, tmp_path: Path
) -> None:
    config = configure(web.serve("/w.pth", torch_file(3, seed=1, arch="squeezenet1_0")))
    with pytest.raises(ModelError, match=rf"^model\.weights: {web.url}/w\.pth: the weights do not fit squeezenet1_1: "):
        prepare_weights(config, 3)
    assert not list((tmp_path / "runs").rglob("*"))
    web.serve("/w.pth", save({"x": np.zeros(3, "float32")}))
    with pytest.raises(ModelError, match=rf"{web.url}/w\.pth: not a file of torch\.save"):
        prepare_weights(config, 3)


def test_a_file_of_another_architecture_says_so(configure: Configure, tmp_path: Path) -> None:
    save_file(state(3, seed=1), tmp_path / "w.safetensors", {"arch": ARCH})
    with pytest.raises(ModelError, match=r"are of squeezenet1_1, and model\.arch is alexnet"):
        prepare_weights(configure(f"{tmp_path}/w.safetensors", "alexnet"), 3)


def test_a_file_that_is_not_there(configure: Configure, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"w\.safetensors: no such file"):
        prepare_weights(configure(f"{tmp_path}/w.safetensors"), 3)


def test_published_weights_that_someone_put_into_the_cache(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a cluster without a way to the internet; the Places365 project publishes no checksum."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    config = configure("places365", "resnet18")
    with pytest.raises(ModelError) as error:
        prepare_weights(config, 12)
    place = tmp_path / "runs/.weights/resnet18_places365.pth.tar"
    assert str(error.value) == (
        "model.weights: could not download http://places2.csail.mit.edu/models_places365/resnet18_places365.pth.tar "
        f"(Connection refused): put the file at {place}"
    )
    network = torch_model.build("resnet18", 365, seed=1)
    place.parent.mkdir(parents=True)
    wrapped = {f"module.{key}": tensor for key, tensor in network.state_dict().items()}
    torch.save({"epoch": 90, "arch": "resnet18", "state_dict": wrapped}, place)
    assert prepare_weights(config, 12) == "places365 of resnet18, head fc replaced (365 -> 12 classes)"
    assert prepare_weights(config, 365) == "places365 of resnet18"


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["googlenet", "vit_b_32", "densenet121"])
def test_the_names_in_published_files_are_understood(configure: Configure, tmp_path: Path, arch: str) -> None:
    """Auxiliary heads, and the names that torchvision's layers had when the files were made."""
    old = {"mlp.0.": "mlp.linear_1.", "mlp.3.": "mlp.linear_2."}
    old |= {f"{layer}{index}.": f"{layer}.{index}." for layer in ("norm", "conv") for index in (1, 2)}
    names = {key: key for key in state_shapes(arch, 5)}
    for new, former in old.items():
        layers = ("encoder_layer", "denselayer")
        names = {
            key: name.replace(new, former) if any(x in key for x in layers) else name for key, name in names.items()
        }
    given = {names[key]: np.zeros(shape, "float32") for key, shape in state_shapes(arch, 5).items()}
    assert (given.keys() == set(names)) == (arch == "googlenet")
    save_file(given | {"aux1.fc2.bias": np.zeros(5, "float32")}, tmp_path / "w.safetensors")
    assert prepare_weights(configure(f"{tmp_path}/w.safetensors", arch), 4).endswith("(5 -> 4 classes)")


@pytest.mark.slow
@pytest.mark.parametrize(("url", "key"), [("w.safetensors", "w.safetensors"), ("step", "step/model.safetensors")])
def test_a_job_waits_for_a_store_that_its_weights_are_in(
    configure: Configure, monkeypatch: pytest.MonkeyPatch, url: str, key: str
) -> None:
    """And whoever submits it is told after seconds."""
    config, given, drawn = configure(f"s3://bucket/{url}"), state(3, seed=7), state(3, seed=1)

    class UntilMended(Clock):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            if self.now_s >= 200:
                proxy.fault = None

    with faulty_store() as (store, proxy):
        store.objects = {key: save(given)}
        proxy.fault = Fault(503, "SlowDown")
        set_clock(monkeypatch, patience)
        with pytest.raises(StorageError, match="SlowDown"):
            prepare_weights(config, 3)
        for ask in (lambda: describe_weights(config, 3), lambda: initial_state(config, drawn)):
            proxy.fault = Fault(503, "SlowDown")
            monkeypatch.setattr(patience, "time", UntilMended())
            answer = ask()
            assert answer == f"s3://bucket/{url}" or taken(answer, given) == set(drawn)


def test_weights_whose_owner_asks_for_it_are_not_fetched_before_their_licence_is_accepted(
    web: WebServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    arch, file = "timm/vit_small_patch16_dinov3", "/timm/vit_small_patch16_dinov3.lvd1689m/{}/main/model.safetensors"
    monkeypatch.setitem(zoo.ARCHITECTURES, arch, zoo.Architecture(arch, "head", 21_600_000, 256, 6.3))
    monkeypatch.setenv("HF_ENDPOINT", web.url)
    monkeypatch.delenv("SCENEREC_ACCEPT_LICENCE", raising=False)
    web.serve(file.format("resolve"), save({"norm.weight": np.ones(3, np.float32)}))
    source = WeightSource("model.weights", "lvd1689m", str(tmp_path), arch)
    with (
        pytest.raises(ModelError, match=r"model\.weights: lvd1689m: their owner asks .*DINOv3"),
        source.open(download=True),
    ):
        pass
    assert not web.requests
    with replace(source, accepted=True).open(download=True) as weights:
        assert weights.state.keys() == {"norm.weight"}
    with source.open() as weights:  # a job reads what was accepted when it was submitted
        assert weights.state.keys() == {"norm.weight"}
    by_url = replace(
        source, weights=web.url + file.format("resolve").replace("model.", "vit_small_patch16_dinov3.lvd1689m.")
    )
    with pytest.raises(ModelError, match="DINOv3"), by_url.open(download=True):
        pass
