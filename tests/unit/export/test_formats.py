"""The table of export formats, and that a new one is an entry in it and a module."""

import json
from pathlib import Path

import pytest

from scenerec.errors import ConfigError
from scenerec.export.exporter import export
from scenerec.export.formats.table import FORMATS, ExportFormat, find_format
from scenerec.export.options import Options
from scenerec.export.source import Stated, torch_source
from scenerec.export.targets import TARGETS
from scenerec.inference.bundles.bundle import read_info

TOY = """
from scenerec.export.description import describe
from scenerec.export.job import ExportJob, Product
from scenerec.inference.bundles.bundle import Golden
from scenerec.inference.bundles.info import TensorContract
import numpy as np

def make(job: ExportJob) -> Product:
    with job.step("labels alone"):
        (job.folder / "model.onnx").write_text("\\n".join(job.source.labels))
    images = (TensorContract(name="images", dtype="uint8", shape=(1, 8, 8, 3)),)
    logits = (TensorContract(name="logits", dtype="float32", shape=(1, 2)),)
    golden = Golden(np.zeros((1, 8, 8, 3), np.uint8), np.zeros((1, 2), np.float32))
    return Product(describe(job, "torch", images, logits, "fp32"), [job.folder / "model.onnx"], golden)
"""


def test_every_format_has_a_module_that_makes_it() -> None:
    assert list(FORMATS) == ["fp32", "fp16", "int8", "int8-dynamic", "tflite-int8", "tflite-fp16"]
    for name, each in FORMATS.items():
        assert each is find_format(name)
        assert callable(each.load())


def test_every_target_has_a_format() -> None:
    assert {target.precision for target in TARGETS.values()} <= set(FORMATS)


def test_an_unknown_format_is_refused_with_the_list() -> None:
    with pytest.raises(ConfigError, match=r"--precision int4: there are fp32, fp16, int8, "):
        find_format("int4")


def test_a_format_is_an_entry_and_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toy_format.py").write_text(TOY)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(FORMATS, "toy", ExportFormat("toy", "toy_format"))
    said: list[object] = []
    source = torch_source("nowhere:build", Stated(labels=("beach", "city"), image_size=8))
    export(source, str(tmp_path / "bundle"), Options(precision="toy"), said.append)
    assert (tmp_path / "bundle" / "model.onnx").read_text() == "beach\ncity"
    assert list(read_info(str(tmp_path / "bundle")).files) == ["model.onnx", "golden.safetensors", "MODEL_CARD.md"]
    assert json.loads((tmp_path / "bundle" / "bundle.json").read_text())["labels"] == ["beach", "city"]
    assert "labels alone" in str(said)
