"""What a job is told before it starts about the part of the network that it trains."""

from pathlib import Path
from typing import Any

import pytest

from scenerec.errors import ModelError
from scenerec.models import zoo
from scenerec.training.preflight import check_job


def test_a_linear_probe_says_what_it_trains(make_config: Any) -> None:
    found = check_job(make_config(model={"freeze": "backbone"}))
    backbone = zoo.architecture("resnet18").parameters - 1000 * 513
    assert dict(found.rows())["trains"] == f"2,052 of {backbone + 4 * 513:,} parameters (backbone frozen)"
    assert found.as_dict()["trained"] == {"trained": 2052, "total": backbone + 2052, "frozen": "backbone"}


def test_the_nodes_cache_is_not_filled_where_a_job_is_submitted(make_config: Any, tmp_path: Path) -> None:
    check_job(make_config(data={"cache": {"folder": f"{tmp_path}/cache", "size_gb": 1}}))
    assert not (tmp_path / "cache").exists()


def test_a_job_that_trains_everything_does_not_say_so(make_config: Any) -> None:
    found = check_job(make_config())
    assert found.as_dict()["trained"] is None
    assert "trains" not in dict(found.rows())


def test_a_module_that_is_not_there_is_found_before_the_job_starts(make_config: Any) -> None:
    with pytest.raises(ModelError, match=r"model\.freeze: resnet18 has no module 'layer5': the nearest are layer"):
        check_job(make_config(model={"freeze": ["conv1", "layer5"]}))
    with pytest.raises(ModelError, match="nothing is left to train"):
        check_job(make_config(model={"freeze": ["conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc"]}))


@pytest.mark.parametrize(
    ("freeze", "estimates"),
    [
        ("none", True),
        (["conv1", "bn1", "layer1"], True),
        (["conv1", "bn1", "layer1", "layer2", "layer3", "layer4"], False),
        (["conv1", "bn1", "layer1", "layer2", "layer3", "layer4.0", "layer4.1.bn1", "layer4.1.bn2.weight"], True),
        ("backbone", False),
    ],
)
def test_statistics_are_estimated_where_a_batchnorm_is_trained(
    make_config: Any, freeze: str | list[str], estimates: bool
) -> None:
    found = check_job(make_config(model={"freeze": freeze}))
    assert ("BatchNorm" in dict(found.rows())) == estimates
