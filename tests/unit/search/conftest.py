from pathlib import Path
from typing import Any

import pytest

from scenerec.config.tune import TuneConfig
from tests.tiny_search import MakeSearch, search_document


@pytest.fixture
def make_search(tmp_path: Path) -> MakeSearch:
    """A search by keywords of tune.yaml; its output is a folder of the test."""

    def make(**fields: Any) -> TuneConfig:
        return TuneConfig.model_validate(search_document(str(tmp_path / "runs"), **fields))

    return make
