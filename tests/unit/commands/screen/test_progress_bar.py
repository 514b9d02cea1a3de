"""The bar of work over many images."""

import re
from pathlib import Path

import pytest

from scenerec.commands.screen.progress_bar import ProgressBar


@pytest.mark.parametrize(("width", "rate", "left"), [(80, True, True), (45, False, True), (24, False, False)])
def test_it_fits_the_terminal(
    width: int, rate: bool, left: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with (tmp_path / "stream").open("w") as stream, ProgressBar("evaluating", stream=stream) as bar:
        bar.show(0, 1_803_460)
        bar.show(901_730, 1_803_460)
        bar.bar.refresh()
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", (tmp_path / "stream").read_text())
    lines = [line for line in re.split("[\r\n]", shown) if line.strip()]
    assert lines and max(map(len, lines)) <= width
    assert "901730/1803460" in lines[-1] or width == 24
    assert ("images/s" in lines[-1]) == rate
    assert (re.search(r"[-\d]:[-\d]{2}:[-\d]{2}", lines[-1]) is not None) == left
