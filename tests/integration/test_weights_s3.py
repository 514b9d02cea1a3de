"""Fine-tuning from a URL: downloaded once into the store, from which both frameworks take all but the head."""

import hashlib
import io
from typing import Any

import numpy as np
import pytest
import torch

from scenerec.config.train import TrainConfig
from scenerec.errors import ModelError
from scenerec.job_log import Event, Note
from scenerec.models import torch_model
from scenerec.models.weights.cache import WeightCache, file_of_url
from scenerec.training.loop import train
from scenerec.training.preflight import check_job, plan_job
from scenerec.world import World
from tests.local_run import LEARNERS, open_job, train_here
from tests.web import WebServer

ARCH = "mobilenet_v3_small"
HEAD = "classifier.3."


@pytest.fixture
def output(store: None, request: pytest.FixtureRequest) -> str:
    """An empty folder of the bucket `scenes`, of this test alone: it goes with the store."""
    return f"s3://scenes/weights-tests/{request.node.name}"


@pytest.fixture
def pretrained() -> torch.nn.Module:
    """A network of seven classes."""
    return torch_model.build(ARCH, classes=7, seed=5)


@pytest.fixture
def url(web: WebServer, pretrained: torch.nn.Module) -> str:
    """Where its weights are, with their checksum."""
    file = io.BytesIO()
    torch.save({"state_dict": {f"module.{key}": tensor for key, tensor in pretrained.state_dict().items()}}, file)
    return f"{web.serve('/net.pth.tar', file.getvalue())}#sha256={hashlib.sha256(file.getvalue()).hexdigest()}"


@pytest.mark.parametrize("framework", LEARNERS)
def test_a_fine_tune(
    make_config: Any, output: str, web: WebServer, url: str, pretrained: torch.nn.Module, framework: str
) -> None:
    config: TrainConfig = make_config(
        framework=framework,
        model={"arch": ARCH, "weights": url},
        optimize={"epochs": 1, "lr": 1e-6, "momentum": 0, "nesterov": False},
        output=output,
    )
    words = f"{url}, without module. before its keys, head classifier.3 replaced (7 -> 4 classes)"
    assert dict(check_job(config).rows())["weights"] == words
    web.stop()  # the cluster has no way to the internet
    assert dict(check_job(config).rows())["weights"] == words

    job = open_job(config)
    learner = LEARNERS[framework](job, World())
    given, drawn = torch_model.state(pretrained), torch_model.state(torch_model.build(ARCH, 4, seed=0))
    for key, array in learner.state().model.items():
        np.testing.assert_array_equal(array, (drawn if key.startswith(HEAD) else given)[key], err_msg=key)

    events: list[Event] = []
    result = train(job, World(), learner, events.append, lambda metrics: None)
    assert isinstance(events[0], Note)
    assert events[0].text.endswith(f"; weights: {words}")
    assert np.isfinite(result["last"]["train_loss"])
    assert web.requests == ["/net.pth.tar"]


def test_what_is_damaged_in_the_store_is_named(make_config: Any, output: str, url: str) -> None:
    config = make_config(model={"arch": ARCH, "weights": url}, output=output)
    check_job(config)
    cache, remote = WeightCache(output), file_of_url(url)
    content = cache.storage.get(remote.file)
    assert cache.url(remote) == f"{output}/.weights/{remote.file}"
    cache.storage.put(remote.file, content[:-1])
    for step in (check_job, plan_job):
        with pytest.raises(ModelError, match=f"{cache.url(remote)}: is damaged"):
            step(config)
    cache.storage.delete(remote.file)
    check_job(config)
    assert cache.storage.get(remote.file) == content


def test_without_a_network_the_place_in_the_store_is_told(
    make_config: Any, output: str, web: WebServer, url: str
) -> None:
    config = make_config(model={"arch": ARCH, "weights": url}, output=output)
    content = web.answers["/net.pth.tar"][0].body
    web.stop()
    cache, remote = WeightCache(output), file_of_url(url)
    with pytest.raises(ModelError, match=rf"\(Connection refused\): put the file at {cache.url(remote)}$"):
        check_job(config)
    cache.storage.put(remote.file, content)
    assert check_job(config).plan.weights.endswith("(7 -> 4 classes)")


def test_weights_of_a_run_in_the_store(make_config: Any, output: str) -> None:
    first = make_config(name="first", model={"arch": ARCH}, optimize={"epochs": 1}, output=output)
    train_here(first)
    second = make_config(name="second", model={"arch": ARCH, "weights": first.run_url}, output=output)
    assert check_job(second).plan.weights == first.run_url
    with pytest.raises(ModelError, match=f"{first.run_url}: are of {ARCH}, and model.arch is resnet18"):
        check_job(make_config(model={"weights": first.run_url}, output=output))
