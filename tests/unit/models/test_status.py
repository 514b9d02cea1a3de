from pathlib import Path

import pytest

from scenerec.errors import ModelError
from scenerec.models import zoo
from scenerec.models.status import STATUS_FILE, Status, read_status
from tests.bench.record import put_status


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "status.csv"
    path.write_text("arch,twin_difference,onnx_difference\nresnet50,2.0e-06,\n")
    return path


def test_all_architectures_have_a_status(file: Path) -> None:
    found = read_status(file)
    assert list(found) == [*zoo.ARCHITECTURES, *zoo.more_of_timm()]
    assert found["resnet50"] == Status(twin_difference=2e-6)
    assert found["resnet18"] == Status()


def test_what_is_recorded_joins_the_rest(file: Path) -> None:
    put_status("resnet50", file, onnx_difference=1.23456e-6)
    put_status("alexnet", file, twin_difference=0.0)
    assert file.read_text().splitlines() == [
        "arch,twin_difference,onnx_difference",
        "alexnet,0.0e+00,",
        "resnet50,2.0e-06,1.2e-06",
    ]


def test_an_architecture_must_exist(file: Path) -> None:
    with pytest.raises(ModelError, match="unknown architecture 'resnet5O'"):
        put_status("resnet5O", file, twin_difference=1e-6)


def test_the_packages_own_table_is_well_formed() -> None:
    named = [line.split(",")[0] for line in STATUS_FILE.read_text().splitlines()]
    assert named[0] == "arch"
    assert set(named[1:]) <= {*zoo.ARCHITECTURES, *zoo.more_of_timm()}
    assert all(value is None or 0 <= value < 1 for entry in read_status().values() for value in vars(entry).values())
