"""Odd YAML against what reads configs: every one is taken, or refused in lines that name the file."""

import random
import time
from collections import Counter
from pathlib import Path

from scenerec.config.file import dump_config, parse_any, parse_as
from scenerec.config.train import TrainConfig
from scenerec.config.yaml_text import decode
from scenerec.errors import ConfigError
from tests.image_fuzz import Outcome

_MOST_TOLD = 20
_RECIPES = Path(__file__).parents[1] / "jobs" / "recipes"

_SCALARS = (
    *(
        "",
        "~",
        "null",
        "true",
        "on",
        "No",
        "y",
        "0",
        "-1",
        "1",
        "1e-3",
        "1E400",
        ".inf",
        "-.INF",
        ".nan",
        "0.1",
        '"0.1"',
        "1_0",
    ),
    *(
        "010",
        "0x1f",
        "0o17",
        "1:30",
        "2026-11-30",
        "2026-13-45",
        "=",
        "<<",
        "*a",
        "&a x",
        "&a [*a]",
        "!!int x",
        "!!float x",
    ),
    *(
        "!!timestamp x",
        "!!bool x",
        "!!binary x",
        "!!set {a}",
        "!!omap [a: 1]",
        "!!python/name:os.system",
        "!x y",
        "%",
        "@",
        "`",
    ),
    *(
        "'",
        '"',
        "[",
        "]",
        "{",
        "}",
        "[]",
        "{}",
        "[1, 2]",
        "{a: 1}",
        "? [a]\n: b",
        "- a",
        "|",
        ">",
        "#",
        "---",
        "...",
        "\t",
    ),
    *(
        '"\\ud800"',
        '"\\0"',
        '"\\x1b[31m"',
        "é",
        "\u2028",
        "\ufeff",
        "9" * 30,
        "999999999999",
        "{min: 1, max: 99999999999}",
        "0x" + "f" * 40,
        "a" * 3000,
        "[" * 60,
        "[" * 1500,
    ),
    *("none", "auto", "resnet18", "DEFAULT", "./w.pth", "~nobody/x", "$NOT_SET", "s3://", "s3:/b", "gs://b/c", "/\x7f"),
)


def fuzz_yaml(count: int, seed: int) -> Outcome:
    """Tries so many changes of the recipes."""
    seeds = [path.read_text().replace("$BUCKET", "scenes") for path in sorted(_RECIPES.glob("*.yaml"))]
    outcomes: Counter[str] = Counter()
    found = Outcome()
    for index in range(count):
        content = _changed(random.Random(f"{seed}/{index}"), seeds)
        started = time.perf_counter()
        outcome, problem = _outcome(content)
        took_s = time.perf_counter() - started
        outcomes[outcome] += 1
        if problem and len(found.wrong) < _MOST_TOLD:
            found.wrong.append(f"{index}: {problem}")
        if took_s > found.slowest_s:
            found.slowest_s, found.slowest = round(took_s, 3), f"{index}: {outcome}"
    found.outcomes = dict(outcomes.most_common())
    return found


def _outcome(content: bytes) -> tuple[str, str]:
    """The kind of the outcome, and what is wrong with it."""
    try:
        config = parse_any(decode(content, "job.yaml"), "job.yaml")
    except ConfigError as error:
        lines = str(error).splitlines()
        well_put = all(line.startswith("job.yaml") and line.isprintable() and len(line) < 1000 for line in lines)
        return "refused", "" if lines and well_put else f"says {str(error)!r}"
    except BaseException as error:
        return type(error).__name__, repr(error)[:500]
    try:
        again = parse_any(dump_config(config), "again.yaml")
        if isinstance(config, TrainConfig):
            parse_as(TrainConfig, dump_config(config), "again.yaml")
    except BaseException as error:
        return "config", f"is taken, but what it is dumped as is not: {error!r}"[:500]
    return "config", "" if again == config else "comes back as another"


def _changed(rng: random.Random, seeds: list[str]) -> bytes:
    """A recipe with up to three changes, or lines of anything."""
    lines = rng.choice(seeds).splitlines()
    for _ in range(rng.choice((1, 1, 2, 3))):
        place = rng.randrange(len(lines))
        key, colon, _ = lines[place].partition(":")
        match rng.choice(("value", "value", "value", "value", "key", "drop", "double", "indent", "insert")):
            case "value":
                lines[place] = f"{key}{colon or ':'} {rng.choice(_SCALARS)}"
            case "key":
                indent = key[: len(key) - len(key.lstrip())]
                lines[place] = f"{indent}{rng.choice(_SCALARS)}: {rng.choice(_SCALARS)}"
            case "drop":
                lines[place] = ""
            case "double":
                lines.insert(place, lines[place])
            case "indent":
                lines[place] = rng.choice((" ", "  ", "\t", "")) + lines[place].lstrip()
            case "insert":
                lines.insert(place, rng.choice(_SCALARS))
    content = "\n".join(lines).encode("utf-8", "surrogatepass")
    if rng.random() < 0.1:
        changed = bytearray(content)
        changed[rng.randrange(len(changed))] = rng.randrange(256)
        return bytes(changed)
    return content
