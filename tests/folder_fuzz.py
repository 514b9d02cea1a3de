"""Odd folders, CSV files and label files against `scenerec data pack` and what reads labels."""

import json
import os
import random
import re
import shutil
import signal
import stat
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from typer.testing import CliRunner, Result

from scenerec.cli import app
from scenerec.data.splits import split_of
from scenerec.errors import ConfigError
from scenerec.inference.predictors.trained_model import read_labels
from scenerec.names import clean
from tests.image_fuzz import Outcome
from tests.odd_folders import draw_labels, draw_table, draw_tree, picture

LIMIT_S = 120
_MOST_TOLD = 20
_LEFT_BY_PROGRAMS = re.compile(r"\.|@eadir|__macosx|\$recycle\.bin|lost\+found|#recycle|thumbs\.db|desktop\.ini", re.I)


def fuzz_folders(count: int, seed: int) -> Outcome:
    """Packs so many drawn folders and lists."""
    return _fuzz(count, seed, _pack_folder)


def fuzz_labels(count: int, seed: int) -> Outcome:
    """Reads so many drawn label files."""
    return _fuzz(count, seed, _read_labels)


def _fuzz(count: int, seed: int, attempt: Callable[[random.Random, Path], tuple[str, str]]) -> Outcome:
    found, outcomes = Outcome(), Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        for index in range(count):
            rng = random.Random(f"{seed}/{index}")
            root = Path(folder) / "photos"
            started = time.perf_counter()
            try:
                with _limited():
                    outcome, problem = attempt(rng, root)
            except BaseException as error:
                outcome, problem = type(error).__name__, repr(error)
            took_s = time.perf_counter() - started
            outcomes[outcome] += 1
            if problem and len(found.wrong) < _MOST_TOLD:
                found.wrong.append(f"{seed}/{index}: {problem}")
            if took_s > found.slowest_s:
                found.slowest_s, found.slowest = round(took_s, 3), f"{index}: {outcome}"
            for path in Path(folder).iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    found.outcomes = dict(outcomes.most_common())
    return found


def _pack_folder(rng: random.Random, root: Path) -> tuple[str, str]:
    source = root
    if rng.random() < 0.35:
        root.mkdir()
        names = [f"{index}.png" for index in range(4)]
        for index, name in enumerate(names):
            (root / name).write_bytes(picture(index))
        source = root / "set.csv"
        source.write_bytes(draw_table(rng, names))
    else:
        draw_tree(rng, root)
    options = rng.choice(([], [], [], ["--nested", "first"], ["--nested", "last"], ["--nested", "path"]))
    options = [*options, *rng.choice(([], [], [], [], ["--splits", "none"], ["--splits", "train=train,val=val"]))]
    command = ["data", "pack", str(source), str(root.parent / "packed"), "--processes", "1", "--json", *options]
    done = CliRunner().invoke(app, command)
    if done.exit_code:
        return f"exit {done.exit_code}", _wrong_refusal(done)
    return "packed", _wrong_set(json.loads(done.stdout.splitlines()[-1]), done.stderr, root, "none" in options)


def _wrong_refusal(done: Result) -> str:
    if not isinstance(done.exception, SystemExit):
        return repr(done.exception)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    if done.exit_code not in (2, 4) or len(errors) != 1 or not errors[0].isprintable() or len(errors[0]) > 1000:
        return f"exit {done.exit_code}: {done.stderr!r}"
    return ""


def _wrong_set(result: dict[str, list[dict[str, object]]], told: str, root: Path, all_are_classes: bool) -> str:
    """What is wrong with what was packed."""
    if not told.isascii() and not all(line.isprintable() for line in told.splitlines()):
        return f"says {told!r}"
    samples = lost = 0
    for split in result["splits"]:
        manifest = json.loads((Path(str(split["url"])) / "manifest.json").read_text())
        samples += int(str(split["samples"]))
        kinds = dict(split["problems"])  # type: ignore[call-overload]
        lost += sum(number for kind, number in kinds.items() if kind not in ("leaked", "conflict"))
        for name in manifest["classes"]:
            left = ": imagefolder, " in told and any(map(_LEFT_BY_PROGRAMS.match, name.split("/")))
            if name != clean(name) or left:
                return f"class {name!r}"
            if len(result["splits"]) > 1 and not all_are_classes and any(map(split_of, name.split("/"))):
                return f"class {name!r} is a split"
    pictures = sum(_pictures(root, any_suffix=False))
    if samples > sum(_pictures(root, any_suffix=True)) and ": imagefolder, " in told:
        return f"{samples} images of {pictures} pictures"
    everything = ": imagefolder, " in told and "  left out: " not in told
    if everything and samples + lost < pictures:
        return f"{samples} images and {lost} problems of {pictures} pictures: {told!r}"
    return ""


def _pictures(root: Path, any_suffix: bool) -> Iterator[bool]:
    """True for each whole picture in the folder that should be found."""
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not _LEFT_BY_PROGRAMS.match(name)]
        for name in files:
            path = Path(folder) / name
            hidden = _LEFT_BY_PROGRAMS.match(name) or path.is_symlink() or not stat.S_ISREG(path.stat().st_mode)
            yield bool(
                not hidden
                and (any_suffix or path.suffix.lower() in (".png", ".jpg"))
                and path.read_bytes()[-8:-4] == b"IEND"
            )


def _read_labels(rng: random.Random, root: Path) -> tuple[str, str]:
    root.mkdir()
    (root / "labels.txt").write_bytes(draw_labels(rng))
    try:
        labels = read_labels(str(root / "labels.txt"))
    except ConfigError as error:
        return "ConfigError", "" if str(error).isprintable() and len(str(error)) < 500 else f"says {str(error)!r}"
    sound = labels and len({label.casefold() for label in labels}) == len(labels) and all(map(clean, labels))
    return "labels", "" if sound and [clean(label) for label in labels] == list(labels) else repr(labels)


@contextmanager
def _limited() -> Iterator[None]:
    """Raises TimeoutError where an input takes longer than it may: a pipe would hang for ever."""

    def give_up(*_: object) -> None:
        raise TimeoutError(f"took more than {LIMIT_S} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(LIMIT_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
