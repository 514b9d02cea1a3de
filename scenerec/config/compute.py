"""How a worker computes: what is faster, or takes less memory, at a price."""

from scenerec.config.block import Block


class ComputeConfig(Block):
    """How a worker computes. Whatever is set, the same images are learned from in the same order by the same rules.

    Nothing of it is part of a run's identity: like the framework, the number of workers and optimize.precision, it may
    change when a run is resumed, which then goes on with other rounding.
    """

    compile: bool = False
    """Compile the training step: by torch.compile in torch, which needs a C++ compiler on the nodes, by XLA in
    TensorFlow. Minutes before the first step, fewer and larger kernels after it. It rounds otherwise."""
    fused_optimizer: bool = False
    """Update all weights in one kernel instead of some for each operation (torch; sgd and adamw). TensorFlow has none:
    there `compile` does it. It rounds otherwise."""
    recompute_activations: bool = False
    """Keep of each block of the network its input alone, and compute the rest once more for the backward pass
    (activation checkpointing; Chen et al. 2016): less memory, so larger batches, for a third more arithmetic. Results
    stay the same, in torch to the last bit."""
    tf32: bool = False
    """GPUs from Ampere on: multiply float32 with 10 bits of mantissa, as TensorFloat-32 does, in matrix products and
    convolutions of both frameworks. Without it both compute in whole float32. It concerns optimize.precision fp32."""
    cudnn_benchmark: bool = False
    """GPUs: cuDNN tries its algorithms for each convolution, and keeps the fastest, in both frameworks. Which one that
    is may change from start to start, and the rounding with it; without it cuDNN chooses by rules of thumb."""
