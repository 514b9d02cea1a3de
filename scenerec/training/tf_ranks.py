"""How the ranks of a training in TensorFlow find each other; uses of TensorFlow what is not of its public interface."""

import tensorflow as tf
from tensorflow.compiler.xla.tsl.protobuf.coordination_config_pb2 import CoordinatedJob
from tensorflow.python.eager import context

_JOB = "worker"
_PATIENCE_MS = 30 * 60 * 1000
"""With a rank that is not heard of, as with one that is awaited in torch. Whoever has started the ranks notices sooner
which of them is lost, and starts them again."""


def strategy_of_ranks(ranks: int) -> tf.distribute.Strategy:
    """Connects this process with the others that TF_CONFIG names, and returns when all are there.

    By itself TensorFlow ends a training where nothing was heard of a rank for 10 s, such as of one behind a cable that
    is cut, which torch waits for. `ranks` is their number. To be called before TensorFlow computes anything.
    """
    context.context().configure_coordination_service(
        "standalone",
        service_leader=f"/job:{_JOB}/replica:0/task:0",
        heartbeat_timeout_in_ms=_PATIENCE_MS,
        coordinated_jobs=[CoordinatedJob(name=_JOB, num_tasks=ranks)],
    )
    return tf.distribute.MultiWorkerMirroredStrategy()
