"""A short train.yaml, and what is said of it with something changed."""

from pathlib import Path

import pytest

from scenerec.config.file import load_config
from scenerec.errors import ConfigError

JOB = """\
kind: train
name: first
framework: torch
data:
  train: s3://scenes/train
  val: s3://scenes/val/
model: {arch: resnet18}
optimize:
  epochs: 2
  global_batch_size: 32
  lr: 0.1
output: s3://scenes/runs
"""


def write_job(folder: Path) -> Path:
    """Writes it as train.yaml, and returns its path."""
    file = folder / "train.yaml"
    file.write_text(JOB)
    return file


def problems(file: Path, *overrides: str) -> list[str]:
    """What is wrong with the file under these overrides, a line each."""
    with pytest.raises(ConfigError) as raised:
        load_config(file, overrides)
    return str(raised.value).splitlines()
