"""Damaged pictures against what decodes them, in a process of limited memory.

python -m tests.image_fuzz COUNT SEED      # prints one line of JSON: what came out
"""

import json
import random
import resource
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from scenerec.data.picture import PictureError
from scenerec.inference.predictors.photograph import Preparer
from tests.mutated_images import Mutated, mutate, seeds

MEMORY_BYTES = 2 << 30
"""That decoding may take: beyond what the process has mapped before."""
_SIZE = 64
MOST_TOLD = 20


@dataclass
class Outcome:
    """What came out."""

    outcomes: dict[str, int] = field(default_factory=dict)
    """How many there were of each."""
    wrong: list[str] = field(default_factory=list)
    """What should not have come out."""
    slowest_s: float = 0.0
    slowest: str = ""
    """The input that took longest."""
    grown_mb: float = 0.0
    """Of the process's memory, at its peak."""

    @property
    def inputs(self) -> int:
        """Tried."""
        return sum(self.outcomes.values())


def draw_mutated(seed: int, index: int, files: dict[str, bytes]) -> Mutated:
    """The picture of this number: the same in every run."""
    return mutate(random.Random(f"{seed}/{index}"), files)


def fuzz_images(count: int, seed: int) -> Outcome:
    """Tries so many in a process of its own: a decoder that crashes, hangs or takes all memory ends only that.

    Raises CalledProcessError with what it wrote, where it has ended.
    """
    command = [sys.executable, "-X", "faulthandler", "-m", "tests.image_fuzz", str(count), str(seed)]
    root = Path(__file__).parents[1]
    finished = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, text=True, check=True)
    return Outcome(**json.loads(finished.stdout))


def _fuzz(count: int, seed: int) -> Outcome:
    files = seeds()
    prepare = Preparer(_SIZE, 0.875)
    for content in files.values():
        prepare(content)
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY_BYTES,) * 2)
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes: Counter[str] = Counter()
    found = Outcome()
    for index in range(count):
        mutated = draw_mutated(seed, index, files)
        name = f"{index}: {mutated.seed}, {', '.join(mutated.changes)}"
        started = time.perf_counter()
        outcome, problem = _outcome(prepare, mutated.content)
        took_s = time.perf_counter() - started
        outcomes[outcome] += 1
        if problem and len(found.wrong) < MOST_TOLD:
            found.wrong.append(f"{name}: {problem}")
        if took_s > found.slowest_s:
            found.slowest_s, found.slowest = round(took_s, 3), f"{name}: {outcome}"
    found.outcomes = dict(outcomes.most_common())
    found.grown_mb = round((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb) / 1024, 1)
    return found


def _outcome(prepare: Preparer, content: bytes) -> tuple[str, str]:
    """The kind of the outcome, and what is wrong with it."""
    try:
        image = prepare(content)
    except PictureError as error:
        message = str(error)
        is_well_put = message.isprintable() and len(message) < 300 and "MemoryError" not in message
        return type(error).__name__, "" if is_well_put else f"says {message!r}"
    except BaseException as error:
        return type(error).__name__, repr(error)
    sound = image.shape == (_SIZE, _SIZE, 3) and image.dtype == np.uint8
    return "image", "" if sound else f"an image {image.shape} of {image.dtype}"


if __name__ == "__main__":
    print(json.dumps(asdict(_fuzz(int(sys.argv[1]), int(sys.argv[2])))))
