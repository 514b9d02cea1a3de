"""A training step of the ResNet-50 twin against keras.applications' ResNet-50 on this machine's CPU.

Both in one process, the same step compiled by tf.function, taken in turn; the ratio is the median over the pairs. Where
the machine computes other things as well, the ratio of the processors' seconds tells more than that of the clock's.

The two networks are not quite the same: torchvision halves the image in the 3x3 convolution of a block,
keras.applications in the 1x1 before it, so that the twin has 4.09 against 3.86 billion multiplications at 224 px; its
convolutions have no biases.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

from scenerec.models import tf_model  # first: torchvision goes before tensorflow

import keras  # isort: skip
import tensorflow as tf

from scenerec.models.zoo import architecture
from tests.bench.record import append_row

NAME = "twin_speed"
ARCH = "resnet50"
CLASSES = 1000
WARM_UP_PAIRS = 3
LARGEST_RATIO = 1.1
Step = Callable[[], None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--pairs", type=int, default=25)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="that each operation is computed in")
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    size = options.image_size
    theirs = keras.applications.ResNet50(
        weights=None, input_shape=(size, size, 3), classes=CLASSES, classifier_activation=None
    )
    ours = tf_model.build(ARCH, CLASSES, size, seed=0)
    assert ours.count_params() - 2 * _statistics(ours) == architecture(ARCH).parameters
    images = tf.random.stateless_normal((options.batch, size, size, 3), seed=(0, 0))
    labels = tf.range(options.batch) % CLASSES
    seconds = time_in_turn([_training_step(model, images, labels) for model in (ours, theirs)], options.pairs)
    ratios = [twin.clock / peer.clock for twin, peer in seconds]
    figures = {
        "arch": ARCH,
        "batch": options.batch,
        "image_size": size,
        "threads": options.threads,
        "pairs": options.pairs,
        "twin_s": round(statistics.median(twin.clock for twin, _ in seconds), 4),
        "keras_applications_s": round(statistics.median(peer.clock for _, peer in seconds), 4),
        "ratio_median": round(statistics.median(ratios), 3),
        "ratio_quartile1": round(statistics.quantiles(ratios)[0], 3),
        "ratio_quartile3": round(statistics.quantiles(ratios)[2], 3),
        "cpu_ratio_median": round(statistics.median(twin.cpu / peer.cpu for twin, peer in seconds), 3),
    }
    figures["result"] = "pass" if figures["ratio_median"] <= LARGEST_RATIO else "slower"
    path = append_row(NAME, figures)
    print(json.dumps(figures), f"-> {path.name}", flush=True)
    sys.exit(figures["result"] != "pass")


def _statistics(model: keras.Model) -> int:
    """Channels with running statistics."""
    return sum(binding.variable.shape[0] for binding in tf_model.bindings(model) if binding.key.endswith("_mean"))


def _training_step(model: keras.Model, images: tf.Tensor, labels: tf.Tensor) -> Step:
    """Forward, backward and an update by momentum, compiled."""
    optimizer = keras.optimizers.SGD(0.01, momentum=0.9)
    optimizer.build(model.trainable_variables)

    @tf.function
    def step(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        optimizer.apply(tape.gradient(loss, [variable.value for variable in model.trainable_variables]))
        return loss

    return lambda: step(images, labels).numpy()


class Seconds(NamedTuple):
    """What a step took."""

    clock: float
    cpu: float
    """Of all threads."""


def time_in_turn(steps: list[Step], pairs: int) -> list[tuple[Seconds, ...]]:
    """Those of each of `steps`, for every pair; which goes first changes from pair to pair."""
    found = []
    for number in range(WARM_UP_PAIRS + pairs):
        seconds = {}
        for index in range(len(steps)) if number % 2 == 0 else reversed(range(len(steps))):
            start, start_cpu = time.perf_counter(), time.process_time()
            steps[index]()
            seconds[index] = Seconds(time.perf_counter() - start, time.process_time() - start_cpu)
        if number >= WARM_UP_PAIRS:
            found.append(tuple(seconds[index] for index in range(len(steps))))
    return found


if __name__ == "__main__":
    main()
