"""What a run with epochs, steps and checkpoints is described by, whether labels are read or not."""

from scenerec.config.pretrain import PretrainConfig
from scenerec.config.train import TrainConfig

RunConfig = TrainConfig | PretrainConfig
"""The config of a run: of a training, or of a pretraining."""
