"""The config of a small probe: what several tests begin with."""

from pathlib import Path
from typing import Any

from scenerec.config.probe import ProbeConfig

ARCH = "shufflenet_v2_x0_5"


def probe_config(scenes: Path, output: Path, /, **blocks: Any) -> ProbeConfig:
    """Of random features of 100 scenes, judged on 36 others; keywords are merged into the blocks."""
    document: dict[str, Any] = {
        "kind": "probe",
        "name": "which",
        "framework": "torch",
        "data": {"train": f"{scenes}/train", "val": f"{scenes}/val", "image_size": 32},
        "backbones": [{"arch": ARCH}],
        "linear": {"decays": [0.1, 1.0]},
        "output": str(output),
    }
    for name, value in blocks.items():
        document[name] = {**document.get(name, {}), **value} if isinstance(value, dict) else value
    return ProbeConfig.model_validate(document)
