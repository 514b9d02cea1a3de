"""A module as a process of its own: what it imports, and how it ends."""

from pathlib import Path

import pytest

from scenerec.export.conversion.child_process import ChildError, ChildLimits, LimitError, run

LISTING = """
import html, sys, time
from pathlib import Path
import scenerec

folder = Path(sys.argv[1])
(folder / "imported").write_text(f"{html.__file__} {scenerec.__file__}")
time.sleep(float((folder / "sleep").read_text()))
sys.exit((folder / "complaint").read_text() or 0)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "listing_child.py").write_text(LISTING)
    (tmp_path / "sleep").write_text("0")
    (tmp_path / "complaint").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_no_file_of_the_package_hides_a_library(folder: Path) -> None:
    run("listing_child", folder, ChildLimits())
    html, scenerec = (folder / "imported").read_text().split()
    assert Path(html).parts[-2:] == ("html", "__init__.py"), "scenerec/html.py is scenerec.html alone"
    assert Path(scenerec).parents[1] == Path(__file__).parents[4]


def test_the_last_line_of_a_failure_is_told(folder: Path) -> None:
    (folder / "complaint").write_text("first\nno such layer")
    with pytest.raises(ChildError, match="ended with exit code 1: no such layer"):
        run("listing_child", folder, ChildLimits())


def test_what_takes_too_long_is_ended(folder: Path) -> None:
    (folder / "sleep").write_text("60")
    with pytest.raises(LimitError, match=r"takes more than 0\.1 s"):
        run("listing_child", folder, ChildLimits(time_s=0.1))
