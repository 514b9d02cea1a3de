"""The pretraining job: `python -m jobs.pretrain config.yaml` starts the workers, as jobs.train does."""

import sys

from jobs.main import main
from jobs.train import run
from scenerec.config.file import parse_as
from scenerec.config.pretrain import PretrainConfig
from scenerec.config.yaml_text import read_text
from scenerec.json_object import JsonObject


def run_file(file: str) -> JsonObject:
    """Pretrains by the config in `file` and returns the content of result.json. Raises ScenerecError."""
    return run(parse_as(PretrainConfig, read_text(file), file))


if __name__ == "__main__":
    sys.exit(main("jobs.pretrain"))
