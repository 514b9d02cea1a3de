"""How a network learns: optimizer, schedule, loss."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from scenerec.config.block import Block, none_to_text
from scenerec.config.distill import DistillConfig
from scenerec.config.mix import MixConfig
from scenerec.config.numbers import Fraction, Positive


def _weighs_classes(value: object) -> object:
    """One clear message, as of `_freezes_something`."""
    if value in ("none", "balanced") or (isinstance(value, dict) and value and all(map(_is_name, value))):
        return value
    raise ValueError("must be `none`, `balanced`, or weights by class such as {beach: 3, hut: 0.5}")


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value)


ClassWeights = Annotated[
    Literal["none", "balanced"] | dict[str, Positive], BeforeValidator(_weighs_classes), BeforeValidator(none_to_text)
]


class OptimizeConfig(Block):
    """Optimisation, with torch's semantics in both frameworks."""

    epochs: int = Field(ge=1, le=1_000_000)
    """Passes over the training set."""
    global_batch_size: int = Field(ge=1)
    """Images per optimizer step, over all workers and accumulation steps."""
    optimizer: Literal["sgd", "adamw", "lars", "lamb"] = "sgd"
    """`sgd`: momentum and coupled weight decay. `adamw`: decoupled weight decay. For batches of thousands of images:
    `lars`: as sgd, each weight's gradient scaled to the weight's length (You, Gitman, Ginsburg 2017); `lamb`: as adamw,
    each weight's step scaled likewise (You et al. 2020)."""
    lr: float = Field(gt=0)
    """Peak learning rate."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """Momentum of SGD and LARS."""
    nesterov: bool = True
    """SGD's Nesterov momentum (needs momentum > 0)."""
    trust_coefficient: float = Field(0.001, gt=0)
    """LARS: length of a gradient, decay included, over that of its weight. Weights with fewer than two axes keep their
    gradients' length."""
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.999)
    """Decay rates of the first and second moment of AdamW and LAMB."""
    eps: float = Field(1e-8, gt=0)
    """Epsilon of AdamW and LAMB (1e-6 in timm's LAMB)."""
    trust_clip: bool = False
    """LAMB: shorten steps that are longer than their weight, and lengthen none."""
    weight_decay: float = Field(0.0, ge=0)
    """Weight decay; not applied to biases and normalisation layers (parameters with fewer than two axes)."""
    layer_decay: Fraction = 1.0
    """Factor on the learning rate for each block of the network between a weight and the head (layer-wise decay)."""
    schedule: Literal["cosine", "restarts", "step", "constant", "plateau"] = "cosine"
    """Learning rate after the warm-up; `restarts`: half cosines that begin anew at lr (Loshchilov and Hutter 2017);
    `plateau` lowers it when val_loss stops falling."""
    warmup_epochs: float = Field(0.0, ge=0)
    """Epochs over which the learning rate rises linearly from 0 to lr."""
    min_lr: float = Field(0.0, ge=0)
    """Lowest learning rate of `cosine`, `restarts` and `plateau`."""
    restart_epochs: float = Field(10.0, ge=0.01)
    """`restarts`: epochs of the first half cosine."""
    restart_factor: int = Field(1, ge=1)
    """`restarts`: how many times as long as the one before each further half cosine is."""
    step_epochs: tuple[Annotated[int, Field(ge=1)], ...] = (30, 60, 80)
    """`step`: epochs at which the learning rate is multiplied by step_gamma."""
    step_gamma: float = Field(0.1, gt=0, le=1)
    """`step`: the factor."""
    plateau_patience: int = Field(5, ge=0)
    """`plateau`: epochs without a lower val_loss before the learning rate falls."""
    plateau_factor: float = Field(0.1, gt=0, lt=1)
    """`plateau`: the factor."""
    loss: Literal["cross_entropy", "bce"] = "cross_entropy"
    """`cross_entropy`: of the softmax over the classes. `bce`: the mean of the classes' binary cross-entropies
    (Wightman, Touvron and Jégou 2021). val_loss is the cross-entropy in either case, and answers are by the softmax."""
    bce_threshold: float | None = Field(None, ge=0, lt=1)
    """`bce`: targets above it become 1 and others 0, so that both classes of a mixed image are wholly there (0.2 in the
    paper's own program). Without it targets stay as they are."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of the target probability that is spread over all classes."""
    class_weights: ClassWeights = "none"
    """How much the losses of a class's images count, for sets with rare classes: `none`: all the same; `balanced`: in
    inverse proportion to the class's images in an epoch; or weights by class name, such as {beach: 3}, and 1 for those
    that are not named. They are scaled so that an epoch's images have 1 on average. Validation stays unweighted.
    Of several labels an image: how much each counts where it is there, against 1 where it is not (torch's
    `pos_weight`); `balanced` is the images without it over those with it, and weights by name stay as they are."""
    mix: MixConfig | None = None
    """Mix training images, and their targets, with each other (mixup, CutMix); without it each is learned as it is."""
    distill: DistillConfig | None = None
    """Learn from a trained teacher as well, or from it alone (knowledge distillation); without it from labels alone."""
    clip_grad_norm: float = Field(0.0, ge=0)
    """Largest L2 norm of the gradient over all parameters; 0 does not clip."""
    accumulate_steps: int = Field(1, ge=1)
    """Forward and backward passes per optimizer step on each worker; each takes its share of the batch."""
    ema_decay: float = Field(0.0, ge=0, lt=1)
    """Decay per step of the moving average of the weights, which is then what is validated; 0 keeps none."""
    precise_batchnorm: Literal["auto", "always", "never"] = "auto"
    """Whether BatchNorm's running statistics are re-estimated before each validation and checkpoint, from up to 512
    training images (Wu and Johnson 2021). `auto`: until the statistics that the run began with weigh 0.001 % or less in
    the running averages, which takes 110 steps for a ResNet, 1,146 for a MobileNetV3, 38,371 for an MNASNet; with
    ema_decay always, since the running averages are not those of the averaged weights."""
    precision: Literal["fp32", "bf16", "fp16", "fp64"] = "fp32"
    """Arithmetic of the forward and backward pass; weights stay float32. fp16 scales the loss. fp64
    keeps the weights in float64 too, to compare runs without rounding: it is slow, and checkpoints stay float32."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Seed of the first weights, the data order and the augmentation."""

    @model_validator(mode="after")
    def _consistent(self) -> "OptimizeConfig":
        if self.min_lr > self.lr:
            raise ValueError(f"min_lr: {self.min_lr:g} exceeds lr ({self.lr:g})")
        if self.warmup_epochs >= self.epochs:
            raise ValueError(
                f"warmup_epochs: {self.warmup_epochs:g} must be less than epochs ({self.epochs}): lower it, such as to "
                f"{self.epochs / 10:g}, or raise epochs"
            )
        if list(self.step_epochs) != sorted(set(self.step_epochs)):
            raise ValueError("step_epochs: must rise")
        if self.bce_threshold is not None and self.loss != "bce":
            raise ValueError("bce_threshold: is of the loss bce: leave it out, or set loss to bce")
        if not self.reads_labels and self.class_weights != "none":
            raise ValueError("class_weights: go by labels, and with distill.weight 1 none is read: leave them out")
        return self

    @property
    def reads_labels(self) -> bool:
        """Whether labels of training images count in the loss."""
        return self.distill is None or self.distill.reads_labels
