"""Every classifier of timm: whether its Keras twin gives torch's logits, or what is missing. One row an architecture.

From random weights, at a small size where it takes one, in graph mode and float32; what is beyond the tolerance there
is measured in float64 as well. The smallest come first. Goes on where an earlier run ended: what passed stays, and what
did not is tried again where a converter has changed; --again tries all.

From the rows come scenerec/models/timm_more.csv, which says what can be trained, and timm_refused.csv, which says of
the others why not.
"""

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import IO, Any

import psutil

from scenerec.models import zoo
from tests.bench.record import put_rows, put_status, read_rows, write_table

NAME = "timm_twins"
UNTRIED, TOO_LARGE, PASS, REFUSED = "untried", "too large", "pass", "refused"
_MODELS = Path(zoo.__file__).parent
_ENTRY = [field.name for field in fields(zoo.TimmArchitecture) if field.name not in ("name", "parameters")]
_HANDFUL = 40

Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--names", nargs="+", metavar="NAME", help="timm's names; by default all")
    parser.add_argument(
        "--again", action="store_true", help="also what has passed, or has failed with these converters"
    )
    parser.add_argument("--most", type=float, default=60.0, help="millions of parameters; larger ones are not tried")
    parser.add_argument("--memory-gb", type=float, default=2.5, help="limit of a process")
    parser.add_argument(
        "--limit-s", type=float, default=150.0, help="limit of an architecture, of the processor's time"
    )
    parser.add_argument("--tables", action="store_true", help="try nothing: only write the tables of what was tried")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        from tests.bench import timm_trial

        timm_trial.run(options.names, options.most)
        return
    os.nice(19)
    if not options.tables:
        for handful in handfuls(wanted(options)):
            try_all(handful, options)
    write_tables()
    print(summary(read_rows(NAME)), flush=True)


def families() -> dict[str, str]:
    """All classifiers of timm, without the tags of their weights: the family of each, which is timm's module."""
    import timm  # takes seconds

    return {name: family for family in timm.list_modules() for name in timm.list_models(module=family)}


def wanted(options: argparse.Namespace) -> list[str]:
    """The names that are to be tried: those asked for in their order, or all, by what is known of their parameters."""
    rows, code = {row["arch"]: row for row in read_rows(NAME)}, converters()
    named = [{"arch": name, "family": family, "result": UNTRIED} for name, family in families().items()]
    if new := [row for row in named if row["arch"] not in rows]:
        put(new)
        rows |= {row["arch"]: row for row in new}
    names = options.names or sorted(rows, key=lambda name: int(rows[name].get("parameters") or 1e9))
    return [name for name in names if options.again or is_open(rows[name], code, options.most)]


def is_open(row: Row, code: str, most: float) -> bool:
    """Whether there is something to find out: it was not tried with these converters, or was too large then."""
    if row.get("result") == TOO_LARGE:
        return int(row["parameters"]) <= most * 1e6
    return row.get("result") != PASS and row.get("converters") != code


def handfuls(names: Sequence[str]) -> Iterator[Sequence[str]]:
    """What one process tries, one after the other: it takes seconds to begin."""
    for start in range(0, len(names), _HANDFUL):
        yield names[start : start + _HANDFUL]


def try_all(names: Sequence[str], options: argparse.Namespace) -> None:
    """Puts a row for each. One that is too much for the process ends it; those after it go on in another."""
    code, known = converters(), {row["arch"]: row for row in read_rows(NAME)}
    while names:
        child = Child(names, options.most)
        for row in child.lines(options.memory_gb, options.limit_s):
            names = names[1:]
            put([{"family": known[row["arch"]]["family"], **row, "converters": code}])
        if not names:
            break
        first, names = names[0], names[1:]
        if child.answered and "memory" in child.failure:
            try_all([first], options)
        else:
            put([{**known[first], "result": REFUSED, "cause": child.failure, "converters": code}])


def put(rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes the rows in the places of those of the same architectures, with all columns."""
    columns = ("arch", "family", "parameters", "result", "cause", "image_px", "difference", "exact", "seconds")
    put_rows(NAME, "arch", [{name: row.get(name, "") for name in (*columns, "converters", *_ENTRY)} for row in rows])
    for row in rows:
        if row["result"] != UNTRIED:
            print(*(str(row.get(name, "")) for name in columns), flush=True)


def converters() -> str:
    """A hash of the sources that decide what becomes of a network."""
    sources = [*sorted((_MODELS / "keras_twin").glob("*.py")), _MODELS / "torch_model.py"]
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:8]


class Child:
    """A process that prints a line of JSON for each name."""

    def __init__(self, names: Sequence[str], most: float) -> None:
        command = [sys.executable, "-m", "tests.bench.timm_twins", "--child", "--most", f"{most:g}", "--names", *names]
        # One thread: two that wait for each other are slower than one where others compute as well.
        env = {**os.environ, "OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
        self.process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.answered, self.failure = 0, ""

    def lines(self, limit_gb: float, limit_s: float) -> Iterator[Row]:
        """What it prints, until it ends, or is ended with `failure` for its memory or a line's processor time."""
        watched, printed, errors = psutil.Process(self.process.pid), Queue[str](), Queue[str]()
        readers = [
            Thread(target=_read, args=each, daemon=True)
            for each in ((self.process.stdout, printed), (self.process.stderr, errors))
        ]
        for reader in readers:
            reader.start()
        spent = 0.0
        while readers[0].is_alive() or not printed.empty():
            with suppress(Empty):
                line = printed.get(timeout=0.2)
                spent, self.answered = _seconds(watched), self.answered + 1
                yield json.loads(line)
            if _bytes(watched) > limit_gb * 1e9:
                self.failure = f"the memory: it needs more than {limit_gb:g} GB"
            elif _seconds(watched) - spent > limit_s:
                self.failure = f"the time: it takes more than {limit_s:g} s"
            if self.failure:
                self.process.kill()
                break
        self.process.wait()
        if self.process.returncode and not self.failure:
            readers[1].join()
            last = list(errors.queue)[-1:] or [f"exit code {self.process.returncode}"]
            self.failure = f"an error that ended the process: {last[0].strip()[:200]}"


def _read(stream: IO[str], into: "Queue[str]") -> None:
    for line in stream:
        into.put(line)


def _seconds(process: psutil.Process) -> float:
    with suppress(psutil.NoSuchProcess):
        times = process.cpu_times()
        return float(times.user + times.system)
    return 0.0


def _bytes(process: psutil.Process) -> int:
    with suppress(psutil.NoSuchProcess):
        return int(process.memory_info().rss)
    return 0


def write_tables() -> None:
    """What the program reads: of what passed all that must be known of it, of what did not the cause."""
    others = [row for row in read_rows(NAME) if zoo.TIMM + row["arch"] not in zoo.ARCHITECTURES]
    more = [entry(row) for row in others if row["result"] == PASS]
    write_table(_MODELS / "timm_more.csv", more, zoo.TimmArchitecture)
    refused = [zoo.RefusedArchitecture(zoo.TIMM + row["arch"], cause(row)) for row in others if row["result"] != PASS]
    write_table(_MODELS / "timm_refused.csv", refused, zoo.RefusedArchitecture)
    zoo.more_of_timm.cache_clear()
    for row in others:
        if row["result"] == PASS:
            put_status(zoo.TIMM + row["arch"], twin_difference=float(row["difference"]))


def entry(row: Row) -> zoo.TimmArchitecture:
    """The table's entry of a row that passed."""
    kinds = {field.name: field.type for field in fields(zoo.TimmArchitecture)}
    cells = {"name": zoo.TIMM + row["arch"], **{name: row[name] for name in ("parameters", *_ENTRY) if row[name]}}
    readers = {int: int, float: float, bool: lambda cell: cell == "True", str: str}
    return zoo.TimmArchitecture(**{name: readers.get(kinds[name], float)(cell) for name, cell in cells.items()})


def cause(row: Row) -> str:
    """Why it did not pass, in words that stand behind "for"."""
    return row["cause"] or "it was not tried yet: `make bench-twins` tries it"


def summary(rows: Iterable[Row]) -> str:
    """How many passed, by family; and why others did not, by cause."""
    rows = list(rows)
    lines = [f"{sum(row['result'] == PASS for row in rows)} of {len(rows)} pass"]
    lines += [f"{count:5} {result}" for result, count in Counter(row["result"] for row in rows).most_common()]
    families = Counter(row["family"] for row in rows)
    passed = Counter(row["family"] for row in rows if row["result"] == PASS)
    tried = Counter(row["family"] for row in rows if row["result"] in (PASS, REFUSED))
    lines += ["", "passed of tried of all, by family:"]
    lines += [f"{passed[name]:5} {tried[name]:5} {count:5} {name}" for name, count in sorted(families.items())]
    causes = Counter(kind_of(row["cause"]) for row in rows if row["result"] == REFUSED)
    lines += ["", "refused, by cause:", *(f"{count:5} {kind}" for kind, count in causes.most_common())]
    return "\n".join(lines)


def kind_of(cause: str) -> str:
    """A cause without what is of one architecture alone: where in it, and which sizes."""
    return re.sub(r"[(\[][^()\[\]]*[)\]]", "...", cause.partition(", used by")[0]).strip()


if __name__ == "__main__":
    main()
