"""One rank of the library's loop without Ray: RANK and WORLD_SIZE as torchrun sets them, TF_CONFIG for TensorFlow.

torchrun --nproc-per-node 2 -m tests.bench.bare_worker train.yaml
"""

import os
import sys

from scenerec.config.file import load_config
from scenerec.data.mixed_set import open_training_set
from scenerec.data.packed_set import open_set
from scenerec.job_log import format_line
from scenerec.training.learner import Learner, TrainingJob
from scenerec.training.loop import train
from scenerec.training.preflight import plan_job
from scenerec.world import World


def main(config_file: str) -> None:
    config = load_config(config_file)
    job = TrainingJob(config, plan_job(config), open_training_set(config.data), open_set(config.data.val))
    world = World(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    learner: Learner
    if config.framework == "torch":
        import torch.distributed as dist

        from scenerec.training import torch_learner

        torch_learner.use_threads(config.scale.cpus_per_worker)
        dist.init_process_group("gloo")
        learner = torch_learner.TorchLearner(job, world)
    else:
        from scenerec.training import tf_learner

        tf_learner.use_threads(config.scale.cpus_per_worker)
        learner = tf_learner.TfLearner(job, world)
    train(job, world, learner, lambda event: print(format_line(event), flush=True), lambda metrics: None)


if __name__ == "__main__":
    main(sys.argv[1])
