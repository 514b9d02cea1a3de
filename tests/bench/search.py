"""What early stopping saves: random trials at full length, and the same ones with ASHA, both frameworks in each.

Real searches by `scenerec submit`, on an embedded cluster of their own, over real or drawn photographs. A random point
depends on seed and number alone, so that both try the same. They run one after the other; a row of search.csv for each
seed holds what they found and what it cost in epochs, which a busy machine does not change.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from cluster import local
from scenerec.data.packing.pack import PackRequest, pack
from scenerec.data.packing.pack_plan import PackOptions
from tests.bench.record import append_row

RECIPE = Path(__file__).parents[2] / "jobs" / "recipes" / "folder-search.yaml"
BUCKET = "s3://scenes"
KINDS: dict[str, dict[str, Any]] = {
    "random": {"searcher": "random", "scheduler": "none"},
    "asha": {"searcher": "random"},  # and the recipe's scheduler
}


def main() -> None:
    """Runs the searches of each seed and prints and appends a row for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photographs", type=Path, nargs="?", help="ImageFolder with train/ and val/; drawn without it")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--trials", type=int, default=12)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="scenerec-bench-") as home:
        os.environ["SCENEREC_HOME"] = home
        try:
            started = local.start(Path(home), gpus=0)
            os.environ.update(started.environment)
            source = options.photographs or _drawn(Path(home))
            pack(PackRequest(source=source, destination=f"{BUCKET}/photos", options=PackOptions()))
            ratios = [_compare(seed, options.trials, Path(home)) for seed in options.seeds]
        finally:
            local.stop(Path(home), purge=True)
    print(f"epochs of ASHA / epochs at full length: {', '.join(f'{ratio:.2f}' for ratio in ratios)}")


def _compare(seed: int, trials: int, home: Path) -> float:
    """Both searches of one seed; returns the share of the epochs that stopping early needed."""
    found = {kind: _search(kind, seed, trials, home) for kind in KINDS}
    figures: dict[str, object] = {"seed": seed, "trials": trials}
    for kind, (result, seconds) in found.items():
        figures |= {
            f"{kind}_top1": round(result["best"]["values"]["val_top1"], 4),
            f"{kind}_epochs": result["epochs"],
            f"{kind}_minutes": round(seconds / 60, 1),
            f"{kind}_best": json.dumps(result["best"]["point"]),
            f"{kind}_states": " ".join(f"{count} {state}" for state, count in result["trials"].items() if count),
        }
    ratio = found["asha"][0]["epochs"] / found["random"][0]["epochs"]
    append_row("search", {**figures, "epochs_ratio": round(ratio, 3)})
    print(json.dumps({**figures, "epochs_ratio": round(ratio, 3)}), flush=True)
    return float(ratio)


def _search(kind: str, seed: int, trials: int, home: Path) -> tuple[dict[str, Any], float]:
    """(result.json, seconds) of a search."""
    document = yaml.safe_load(RECIPE.read_text())
    document |= {"name": f"{kind}-{seed}", "trials": trials, "seed": seed, "output": f"{BUCKET}/runs", **KINDS[kind]}
    document["base"]["optimize"]["seed"] = seed
    file = home / f"{kind}-{seed}.yaml"
    file.write_text(yaml.safe_dump(document))
    began_s = time.monotonic()
    submitted = subprocess.run(
        [sys.executable, "-m", "scenerec", "submit", str(file), "--json"], stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(submitted.stdout.splitlines()[-1]), time.monotonic() - began_s


def _drawn(home: Path) -> Path:
    folder = home / "drawn"
    subprocess.run([sys.executable, "-m", "scenerec", "data", "synthetic", str(folder)], check=True)
    return folder


if __name__ == "__main__":
    main()
