"""The limit: decode, resize and infer in a plain loop. For each line of its input, SECONDS, it prints what it did.

python -m tests.bench.serving_peers.raw_loop BUNDLE IMAGES
"""

import json
import pickle
import sys
import time
from pathlib import Path

from tests.bench.serving_peers.model import Model


def main(bundle: str, images: str) -> None:
    model = Model(bundle)
    photographs = pickle.loads(Path(images).read_bytes())
    for photograph in photographs[:10]:
        model.answer(photograph)
    print("ready", flush=True)
    turn = 0
    for line in sys.stdin:
        latencies_ms = []
        now = started = time.perf_counter()
        while now < started + float(line):
            model.answer(photographs[turn % len(photographs)])
            turn += 1
            latencies_ms.append((time.perf_counter() - now) * 1e3)
            now = time.perf_counter()
        print(json.dumps({"latencies_ms": latencies_ms, "seconds": now - started}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
