"""The latency of an architecture, before anything is trained: its ONNX graph with drawn weights, in onnxruntime."""

import statistics
import time

import numpy as np

from scenerec.export.conversion import torch_onnx
from scenerec.export.graphs.network_graph import LOGITS, PIXELS
from scenerec.inference.predictors.onnx_predictor import open_session
from scenerec.models import torch_model

_WARM_UP_CALLS = 3
_CALLS = 20


def latency_ms(arch: str, image_size: int, classes: int) -> float:
    """Milliseconds of one core for one image: the median of the thread's own time, whoever else is computing.

    Raises ModelError where the architecture does not export.
    """
    graph = torch_onnx.convert(torch_model.build(arch, classes, seed=0), image_size)
    session = open_session(graph.SerializeToString(), threads=1)
    image = {PIXELS: np.zeros((1, 3, image_size, image_size), np.float32)}
    times_s = []
    for _ in range(_WARM_UP_CALLS + _CALLS):
        began_s = time.thread_time()
        session.run([LOGITS], image)
        times_s.append(time.thread_time() - began_s)
    return statistics.median(times_s[_WARM_UP_CALLS:]) * 1e3
