"""From a folder of photographs to an answer by HTTP in two commands, beside `yolo classify train` on the same folder.

`scenerec train FOLDER --serve` begins without a cluster, and ends with a registered model that answers; then the first
photograph is sent to the endpoint. ultralytics' smallest classifier learns from the same folder for as many epochs, at
the size of image that scenerec has chosen, from random weights as well; it exports and serves nothing. Both report the
top-1 of their best epoch on the same validation images. A row of ease.csv.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import yaml

from tests.bench.peers import UnavailableError, make_environment
from tests.bench.record import append_row

PEER = Path(__file__).parent / "ease_peers" / "ultralytics.txt"
PEER_MODEL = "yolo11n-cls.yaml"


def main() -> None:
    """Trains both, one after the other; prints minutes and top-1 of each, and appends a row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path, help="ImageFolder with train/ and val/")
    parser.add_argument("--minutes", type=float, default=10.0, help="of scenerec's training")
    parser.add_argument("--peers", type=Path, default=Path.home() / ".cache" / "scenerec" / "bench-peers")
    options = parser.parse_args()
    photographs = options.photographs.absolute()
    with tempfile.TemporaryDirectory(prefix="scenerec-bench-") as temporary:
        folder = Path(temporary)
        figures = _ours(photographs, options.minutes, folder)
        print("scenerec", figures)
        try:
            yolo = make_environment(options.peers / "ultralytics", PEER, borrows=True) / "yolo"
        except UnavailableError as error:
            print(f"ultralytics: skipped: {error}")
        else:
            figures |= _yolo(yolo, photographs, figures, folder)
    print(figures)
    append_row("ease", figures)


def _ours(photographs: Path, minutes: float, folder: Path) -> dict[str, Any]:
    environment = {**os.environ, "SCENEREC_HOME": str(folder / "home")}

    def scenerec(*words: str) -> str:
        asked = [sys.executable, "-m", "scenerec", *words]
        return subprocess.run(asked, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout

    began_s = time.perf_counter()
    try:
        told = scenerec("train", str(photographs), "--minutes", f"{minutes:g}", "--yes", "--serve", "--json")
        finished = json.loads(told.splitlines()[-1])
        photograph = min(photographs.glob("val/*/*.jpg")).read_bytes()
        address = f"{finished['endpoint']}/v1/models/{finished['model']}:predict"
        with urllib.request.urlopen(
            urllib.request.Request(address, photograph, {"Content-Type": "image/jpeg"})
        ) as answer:
            assert json.load(answer)["predictions"][0]["classes"]
        took_s = time.perf_counter() - began_s
    finally:
        scenerec("cluster", "down", "--purge")
    config = yaml.safe_load((folder / f"{finished['model']}.yaml").read_text())
    return {
        "arch": config["model"]["arch"],
        "image_size": config["data"]["image_size"],
        "epochs": finished["epochs"],
        "wished_minutes": minutes,
        "minutes_to_answer": round(took_s / 60, 2),
        "top1": round(100 * finished["top1"], 2),
    }


def _yolo(yolo: Path, photographs: Path, ours: dict[str, Any], folder: Path) -> dict[str, Any]:
    settings = {
        "data": photographs, "model": PEER_MODEL, "epochs": ours["epochs"], "imgsz": ours["image_size"],
        "pretrained": False, "device": "cpu", "project": folder, "name": "yolo", "plots": False, "verbose": False,
    }  # fmt: skip
    began_s = time.perf_counter()
    subprocess.run(
        [str(yolo), "classify", "train", *(f"{key}={value}" for key, value in settings.items())],
        cwd=folder, env={**os.environ, "YOLO_CONFIG_DIR": str(folder)}, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    took_s = time.perf_counter() - began_s
    with (folder / "yolo" / "results.csv").open(newline="") as file:
        best = max(float(row["metrics/accuracy_top1"]) for row in csv.DictReader(file, skipinitialspace=True))
    return {"yolo_minutes": round(took_s / 60, 2), "yolo_top1": round(100 * best, 2)}


if __name__ == "__main__":
    main()
