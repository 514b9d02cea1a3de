"""A run's metrics as events of TensorBoard: one file that grows, its beginning the same however often it is written.

The format is that of TFRecord: the length of an event, a masked CRC-32C of the length, the event, one of the event
(TensorFlow, "TFRecords format details").
"""

import struct
from collections.abc import Iterable, Mapping
from itertools import chain

from scenerec.epoch_metrics import EpochMetrics
from scenerec.step_metrics import StepMetrics
from scenerec.training.scalars import epoch_scalars, step_scalars


class EventFile:
    """The events of a run so far, encoded.

    Args:
        points: what its earlier attempts came to by step.
        history: the same by epoch.
    """

    def __init__(self, points: Iterable[StepMetrics] = (), history: Iterable[EpochMetrics] = ()) -> None:
        self._events = bytearray()
        # As they came: an epoch ends with its last step.
        metrics: Iterable[StepMetrics | EpochMetrics] = chain(points, history)
        for each in sorted(metrics, key=lambda each: each.global_step):
            self.add(each)

    def add(self, metrics: StepMetrics | EpochMetrics) -> None:
        """Adds an event with a value for each quantity."""
        scalars = step_scalars(metrics) if isinstance(metrics, StepMetrics) else epoch_scalars(metrics)
        if not self._events:
            self._events += _record(_event(metrics.time_s, file_version="brain.Event:2"))
        self._events += _record(_event(metrics.time_s, metrics.global_step, scalars))

    def content(self) -> bytes:
        """The content of the file."""
        return bytes(self._events)


def _event(time_s: float, step: int = 0, scalars: Mapping[str, float] = {}, **fields: str) -> bytes:
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.summary_pb2 import Summary

    if not scalars:
        return Event(wall_time=time_s, **fields).SerializeToString()
    values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
    return Event(wall_time=time_s, step=step, summary=Summary(value=values)).SerializeToString()


def _record(event: bytes) -> bytes:
    length = struct.pack("<Q", len(event))
    return b"".join((length, _masked_crc(length), event, _masked_crc(event)))


def _masked_crc(content: bytes) -> bytes:
    from tensorboardX.crc32c import crc32c

    crc = crc32c(content)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)
