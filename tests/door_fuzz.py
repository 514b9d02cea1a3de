"""Damaged pictures against every way into the product: what one of them takes or refuses, all take or refuse.

python -m tests.door_fuzz COUNT SEED      # prints one line of JSON: what came out
"""

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from scenerec.data.picture import Picture, PictureError, UnknownFormatError
from tests.image_fuzz import MOST_TOLD, Outcome, draw_mutated
from tests.mutated_images import seeds

_LARGEST_PIXELS = 1_000_000  # of what is tried: larger ones are only slow


def fuzz_doors(count: int, seed: int) -> Outcome:
    """Tries so many in a process of its own, as both frameworks are in it.

    Raises CalledProcessError with what it wrote, where it has ended.
    """
    command = [sys.executable, "-X", "faulthandler", "-m", "tests.door_fuzz", str(count), str(seed)]
    root = Path(__file__).parents[1]
    finished = subprocess.run(command, cwd=root, capture_output=True, text=True)
    if finished.returncode:
        raise subprocess.CalledProcessError(finished.returncode, command, finished.stdout, finished.stderr[-4000:])
    return Outcome(**json.loads(finished.stdout))


def _fuzz(count: int, seed: int) -> Outcome:
    from tests.picture_doors import answers, loads_strictly  # with both frameworks

    files = seeds()
    outcomes: Counter[str] = Counter()
    found = Outcome()
    index = 0
    while outcomes.total() < count:
        mutated = draw_mutated(seed, index, files)
        name = f"{index}: {mutated.seed}, {', '.join(mutated.changes)}"
        index += 1
        if _is_large(mutated.content):
            continue
        started = time.perf_counter()
        outcome, problem = _outcome(answers, loads_strictly, mutated.content)
        took_s = time.perf_counter() - started
        outcomes[outcome] += 1
        if problem and len(found.wrong) < MOST_TOLD:
            found.wrong.append(f"{name}: {problem}")
        if took_s > found.slowest_s:
            found.slowest_s, found.slowest = round(took_s, 3), f"{name}: {outcome}"
    found.outcomes = dict(outcomes.most_common())
    return found


def _is_large(content: bytes) -> bool:
    try:
        picture = Picture(content)
    except PictureError:
        return False
    return picture.width * picture.height > _LARGEST_PIXELS


def _outcome(
    answers: Callable[[bytes], dict[str, str]], loads_strictly: Callable[[bytes], bool], content: bytes
) -> tuple[str, str]:
    """What the doors say of it, and what is wrong with that."""
    try:
        said = answers(content)
    except Exception as error:
        return type(error).__name__, repr(error)
    if len(set(map(_mind, said.values()))) > 1:
        return "not of one mind", str(said)
    verdict = said["predict"]
    if not verdict and not loads_strictly(content):
        return "taken", "a strict decoder refuses it"
    return verdict.partition(":")[0] or "taken", ""


def _mind(answer: str) -> str:
    """What must be alike. Of a format that it does not read, packing alone says the name: chance can write FF 0A."""
    kind = answer.partition(":")[0]
    return kind if kind == UnknownFormatError.__name__ else answer


if __name__ == "__main__":
    print(json.dumps(asdict(_fuzz(int(sys.argv[1]), int(sys.argv[2])))))
