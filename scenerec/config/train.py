"""The YAML of a job as frozen models: what a user writes, checked before anything expensive starts.

The docstring under each field is the reference documentation; `scenerec schema` prints it as JSON Schema.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from scenerec.config.block import Block
from scenerec.config.checkpoint import CheckpointConfig
from scenerec.config.distill import DistillConfig
from scenerec.config.geo import GeoConfig
from scenerec.config.job import JobConfig
from scenerec.config.location import Location
from scenerec.config.network import Architecture, expand_weights
from scenerec.config.track import TrackConfig
from scenerec.errors import ModelError
from scenerec.frozen import Pattern
from scenerec.models.blocks import check_blocks
from scenerec.models.weights.published import find_weights, is_name
from scenerec.models.zoo import architecture, check_image_size
from scenerec.storage import Patience


def _none_to_text(value: object) -> object:
    return "none" if value is None else value  # YAML 1.1 reads `~` and an empty value as null


def _freezes_something(value: object) -> object:
    """One clear message in place of one for each kind of value that could have been."""
    is_list = isinstance(value, (list, tuple)) and value and all(isinstance(path, str) and path for path in value)
    if value in ("none", "backbone") or is_list:
        return value
    raise ValueError("must be `none`, `backbone`, or a list of modules such as [conv1, bn1, layer1]")


def _weighs_classes(value: object) -> object:
    """One clear message, as of `_freezes_something`."""
    if value in ("none", "balanced") or (isinstance(value, dict) and value and all(map(_is_name, value))):
        return value
    raise ValueError("must be `none`, `balanced`, or weights by class such as {beach: 3, hut: 0.5}")


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value)


Weights = Annotated[str, BeforeValidator(_none_to_text), AfterValidator(expand_weights)]
Freeze = Annotated[
    Literal["none", "backbone"] | tuple[str, ...], BeforeValidator(_freezes_something), BeforeValidator(_none_to_text)
]
Fraction = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Sigma = Annotated[float, Field(gt=0, le=50)]
ClassWeights = Annotated[
    Literal["none", "balanced"] | dict[str, Positive], BeforeValidator(_weighs_classes), BeforeValidator(_none_to_text)
]


_LEAST_IMAGES = 2
_LONGEST_PATIENCE_S = 1500  # workers wait 1800 s for one that waits
MOST_WORKERS = 100_000
"""More would only be a slip, and the numbers between are tried one by one."""


class AugmentConfig(Block):
    """How training images are varied. Draws depend on seed, epoch and position only: both frameworks see the same."""

    crop_scale: tuple[Fraction, Fraction] = (0.08, 1.0)
    """Random resized crop: smallest and largest share of the image's area. [1, 1] takes nearly the whole image."""
    crop_ratio: tuple[Positive, Positive] = (3 / 4, 4 / 3)
    """Random resized crop: narrowest and widest aspect ratio (width / height)."""
    flip: bool = True
    """Mirror half of the images left to right."""
    color_jitter: float = Field(0.0, ge=0, lt=1)
    """Brightness, contrast and saturation are each scaled by a factor from [1 - j, 1 + j]."""
    saturation: float | None = Field(None, ge=0, lt=1)
    """The saturation's own j in place of color_jitter's."""
    hue: float = Field(0.0, ge=0, le=0.5)
    """The colours are turned by a share of the circle from [-hue, hue] (in YIQ, which keeps the brightness)."""
    drop_coordinates: float = Field(0.1, ge=0, le=1)
    """Share of the images whose coordinates are hidden from a network that takes them (model.geo), so that it learns to
    work without; the others that have none add to it."""
    color_share: Fraction = 1.0
    """Share of the images of which brightness, contrast, saturation and hue are changed."""
    gray: float = Field(0.0, ge=0, le=1)
    """Share of the images that lose their colours."""
    blur: float = Field(0.0, ge=0, le=1)
    """Share of the images that are blurred by a Gaussian, before their colours change."""
    blur_sigma: tuple[Sigma, Sigma] = (0.1, 2.0)
    """Smallest and largest deviation of the blur, in pixels at image_size 224; at another one in proportion."""
    solarize: float = Field(0.0, ge=0, le=1)
    """Share of the images whose bright levels, of 128 and more, are inverted, after their colours have changed."""

    @property
    def saturation_jitter(self) -> float:
        """How far the saturation is changed."""
        return self.color_jitter if self.saturation is None else self.saturation

    @property
    def changes_colors(self) -> bool:
        """Whether images get other colours."""
        return bool(self.color_jitter or self.saturation_jitter or self.hue or self.gray or self.solarize)

    @model_validator(mode="after")
    def _ordered(self) -> "AugmentConfig":
        for field in ("crop_scale", "crop_ratio", "blur_sigma"):
            low, high = getattr(self, field)
            if low > high:
                raise ValueError(f"{field}: the first number must not exceed the second")
        return self


class CacheConfig(Block):
    """Where the workers of a node share the shards that they fetch."""

    folder: Annotated[str, Pattern("/.*", "must be a path from the root on, such as /local/shards")]
    """A folder on each node's own disk, or in its memory (/dev/shm/...), from the root on; made if it is not there."""
    size_gb: float = Field(gt=0)
    """The most gigabytes (10^9 bytes) that it holds of shards. What was not used longest goes first, so it should hold
    what a node reads in an epoch; one that holds the whole set spares all later epochs the store."""

    @property
    def size_bytes(self) -> int:
        """The size in bytes."""
        return round(self.size_gb * 1e9)


class WeightedSet(Block):
    """One of several training sets."""

    set: Location
    """Where it is, as of a single one."""
    weight: float = Field(gt=0)
    """Its share of an epoch, over the sum of the sets' weights."""


class InputConfig(Block):
    """The packed training set, and how images become tensors."""

    train: Location | Annotated[tuple[WeightedSet, ...], Field(min_length=1)]
    """Training set: where `scenerec data pack` wrote manifest.json and shards; s3:// or a local folder. Or a list of
    {set: ..., weight: ...}, all of the same classes: an epoch has as many images as all of them, mixed by weight."""
    train_share: Fraction = 1.0
    """Share of the training shards that is used, from the first: less than 1 for quick trials on a large set."""
    balance: float = Field(0.0, ge=0, le=1)
    """How far classes are evened out: class c gets a share of an epoch in proportion to (its images) ** (1 - balance).
    0 takes each image once an epoch; 1 takes as many of each class, so those of rare classes several times and those
    of frequent ones in some epochs only; 0.5 lies between. Epochs keep their length."""
    image_size: int = Field(224, ge=16, le=1024)
    """Side of the square that the network sees, in pixels."""
    eval_crop_ratio: Fraction = 0.875
    """Evaluation resizes the short side to image_size / eval_crop_ratio, then crops the centre."""
    augment: AugmentConfig = AugmentConfig()
    """Random variations of the training images."""
    lanes: int | Literal["auto"] = "auto"
    """Parallel cursors through an epoch, fixed for the life of a run (also when its number of workers changes).
    `auto`: a multiple of the largest number of workers, and of 12 and the other numbers where that cuts few shards."""
    decode_processes: int | Literal["auto"] = "auto"
    """Threads per worker that decode images, at least one; `auto`: cpus_per_worker - 1."""
    cache: CacheConfig | None = None
    """Shards are kept on the nodes' disks and shared by a node's workers; without it each worker fetches its own."""
    log_samples: bool = False
    """Keep the names of the samples of every global batch in the run's folder, to compare or audit what was trained."""
    store_patience_s: float = Field(300.0, ge=0, le=_LONGEST_PATIENCE_S)
    """How long the job's requests are tried again while the object store does not answer, or answers that it is
    overloaded, in seconds; only then do its workers fail. Of the data, the checkpoints, and all that the job writes."""

    @property
    def patience(self) -> Patience:
        """The patience of a job's storages."""
        return Patience(self.store_patience_s)

    @property
    def train_sets(self) -> tuple[WeightedSet, ...]:
        """The training sets; a single one with weight 1."""
        return (WeightedSet(set=self.train, weight=1),) if isinstance(self.train, str) else self.train

    @property
    def train_names(self) -> str:
        """The training sets' addresses, for messages."""
        return ", ".join(each.set for each in self.train_sets)

    @model_validator(mode="after")
    def _sets_differ(self) -> "InputConfig":
        sets = [each.set for each in self.train_sets]
        if twice := [name for name in sets if sets.count(name) > 1]:
            raise ValueError(f"train: {twice[0]} stands twice: name it once, with the sum of the weights")
        return self

    @model_validator(mode="after")
    def _counts(self) -> "InputConfig":
        if self.lanes != "auto" and self.lanes < 1:
            raise ValueError("lanes: must be `auto` or at least 1")
        if self.decode_processes != "auto" and self.decode_processes < 0:
            raise ValueError("decode_processes: must be `auto` or at least 0")
        return self


class DataConfig(InputConfig):
    """The packed data sets, and how their images become tensors."""

    val: Location
    """Validation set, packed as the training set is, with the same classes."""


class ModelConfig(Block):
    """The network and its first weights."""

    arch: Architecture
    """A torchvision classifier, in either framework: resnet18, resnet50, mobilenet_v3_small, ..."""
    weights: Weights = "none"
    """`none` (random, by optimize.seed); a published name such as IMAGENET1K_V2, DEFAULT or places365 (`scenerec models
    show ARCH` lists them); the URL of a .safetensors, .pth or .keras file, which may end in #sha256=DIGITS; or path or
    s3:// of such a file, of a SavedModel, a checkpoint or a run. The head is replaced where the classes differ."""
    weights_ema: bool = False
    """Take the moving averages (`model_ema`) that the file of `weights`, a checkpoint or a run keeps beside them."""
    freeze: Freeze = "none"
    """What keeps its first weights: `none`; `backbone`, so that the head (and what reads coordinates) alone is trained,
    a linear probe; or a list of modules by their torch paths, such as [conv1, bn1, layer1]. BatchNorm in it keeps its
    running statistics."""
    geo: GeoConfig | None = None
    """Lets the network read coordinates beside the image; `{}` takes the defaults. Without it, it sees images alone."""

    @field_validator("weights")
    @classmethod
    def _published(cls, weights: str, others: ValidationInfo) -> str:
        """DEFAULT becomes the name that it stands for now, so that a run's config keeps its meaning."""
        if weights == "none" or not is_name(weights) or "arch" not in others.data:
            return weights
        try:
            return find_weights(others.data["arch"], weights).name
        except ModelError as error:
            raise ValueError(str(error)) from None

    @model_validator(mode="after")
    def _fusion_suits_the_architecture(self) -> "ModelConfig":
        if self.geo is not None:
            try:
                self.geo.check_suits(self.arch)
            except ModelError as error:
                raise ValueError(f"geo.fusion: {error}") from None
        return self

    @model_validator(mode="after")
    def _averages_are_of_a_file(self) -> "ModelConfig":
        if self.weights_ema and is_name(self.weights):
            what = "there are no weights" if self.weights == "none" else f"{self.weights} has no averages beside it"
            raise ValueError(f"weights_ema: {what}: name a file, a checkpoint or a run in weights, or leave it out")
        return self


class OptimizeConfig(Block):
    """Optimisation, with torch's semantics in both frameworks."""

    epochs: int = Field(ge=1, le=1_000_000)
    """Passes over the training set."""
    global_batch_size: int = Field(ge=1)
    """Images per optimizer step, over all workers and accumulation steps."""
    optimizer: Literal["sgd", "adamw", "lars"] = "sgd"
    """`sgd`: momentum and coupled weight decay. `adamw`: decoupled weight decay. `lars`: for batches of thousands of
    images: as sgd, each weight's gradient scaled to the weight's length (You, Gitman, Ginsburg 2017)."""
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
    """AdamW's decay rates of the first and second moment."""
    eps: float = Field(1e-8, gt=0)
    """AdamW's epsilon."""
    weight_decay: float = Field(0.0, ge=0)
    """Weight decay; not applied to biases and normalisation layers (parameters with fewer than two axes)."""
    layer_decay: Fraction = 1.0
    """Factor on the learning rate for each block of the network between a weight and the head (layer-wise decay)."""
    schedule: Literal["cosine", "step", "constant", "plateau"] = "cosine"
    """Learning rate after the warm-up; `plateau` lowers it when val_loss stops falling."""
    warmup_epochs: float = Field(0.0, ge=0)
    """Epochs over which the learning rate rises linearly from 0 to lr."""
    min_lr: float = Field(0.0, ge=0)
    """Lowest learning rate of `cosine` and `plateau`."""
    step_epochs: tuple[int, ...] = (30, 60, 80)
    """`step`: epochs at which the learning rate is multiplied by step_gamma."""
    step_gamma: float = Field(0.1, gt=0, le=1)
    """`step`: the factor."""
    plateau_patience: int = Field(5, ge=0)
    """`plateau`: epochs without a lower val_loss before the learning rate falls."""
    plateau_factor: float = Field(0.1, gt=0, lt=1)
    """`plateau`: the factor."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of the target probability that is spread over all classes."""
    class_weights: ClassWeights = "none"
    """How much the losses of a class's images count, for sets with rare classes: `none`: all the same; `balanced`: in
    inverse proportion to the class's images in an epoch; or weights by class name, such as {beach: 3}, and 1 for those
    that are not named. They are scaled so that an epoch's images have 1 on average. Validation stays unweighted."""
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
        if not self.reads_labels and self.class_weights != "none":
            raise ValueError("class_weights: go by labels, and with distill.weight 1 none is read: leave them out")
        return self

    @property
    def reads_labels(self) -> bool:
        """Whether labels of training images count in the loss."""
        return self.distill is None or self.distill.reads_labels


class WorkerRange(Block):
    """An elastic number of workers."""

    min: int = Field(ge=1)
    """Fewest workers to run with."""
    max: int = Field(ge=1, le=MOST_WORKERS)
    """Most workers to run with."""

    @model_validator(mode="after")
    def _ordered(self) -> "WorkerRange":
        if self.min > self.max:
            raise ValueError("min: must not exceed max")
        return self


class ScaleConfig(Block):
    """How much of the cluster the job takes."""

    workers: Annotated[int, Field(ge=1, le=MOST_WORKERS)] | WorkerRange = 1
    """Number of workers, or {min: 8, max: 32}: the job then shrinks and grows with the cluster."""
    gpus_per_worker: int = Field(0, ge=0, le=1)
    """GPUs of each worker, 0 or 1; 0 trains on the CPU. More GPUs: more workers."""
    cpus_per_worker: int = Field(1, ge=1)
    """CPU cores of each worker."""
    max_restarts: int = Field(3, ge=0)
    """How often the workers are started again after a failure before the job is given up."""

    @property
    def max_workers(self) -> int:
        """The largest number of workers."""
        return self.workers.max if isinstance(self.workers, WorkerRange) else self.workers

    @property
    def min_workers(self) -> int:
        """The smallest number of workers."""
        return self.workers.min if isinstance(self.workers, WorkerRange) else self.workers


class LearningConfig(Block):
    """How a network learns, with labels or without."""

    framework: Literal["torch", "tensorflow"]
    """The framework that trains; network, first weights and batches are the same in both."""
    data: InputConfig
    """What to learn from."""
    model: ModelConfig
    """What learns."""
    optimize: OptimizeConfig
    """How it learns."""
    scale: ScaleConfig = ScaleConfig()
    """On how many machines."""
    checkpoint: CheckpointConfig = CheckpointConfig()
    """How often it is saved."""
    track: TrackConfig = TrackConfig()
    """How it is followed."""

    @model_validator(mode="after")
    def _image_size_suits_the_architecture(self) -> "LearningConfig":
        try:
            check_image_size(self.model.arch, self.data.image_size)
        except ModelError as error:
            raise ValueError(f"data.image_size: {error}") from None
        return self

    @model_validator(mode="after")
    def _blocks_are_known(self) -> "LearningConfig":
        if self.optimize.layer_decay < 1:
            try:
                check_blocks(self.model.arch)
            except ModelError as error:
                raise ValueError(f"optimize.layer_decay: {error}, or set it to 1") from None
        return self

    @model_validator(mode="after")
    def _batches_suit_batch_norm(self) -> "LearningConfig":
        """Each pass of a worker sees two images at least, also of the largest number of workers.

        torch stops where BatchNorm has one value a channel, and TensorFlow trains on a variance of 0.
        """
        workers, pieces = self.scale.max_workers, self.optimize.accumulate_steps
        if architecture(self.model.arch).batchnorm_momentum is None or self.model.freeze == "backbone":
            return self
        if self.optimize.global_batch_size // workers // pieces < _LEAST_IMAGES:
            share = f"{workers} worker(s)" + (f" in {pieces} steps" if pieces > 1 else "")
            raise ValueError(
                f"optimize.global_batch_size: {self.optimize.global_batch_size} on {share} leaves fewer than "
                f"{_LEAST_IMAGES} images to a pass, from which the BatchNorm of {self.model.arch} learns nothing: "
                f"raise it to {_LEAST_IMAGES * workers * pieces}, or lower scale.workers or optimize.accumulate_steps"
            )
        return self


class TrainingConfig(LearningConfig):
    """How a network is trained: what a training job and each trial of a search have in common."""

    data: DataConfig
    """What to learn from."""


class TrainConfig(JobConfig, TrainingConfig):
    """A training job: the whole of train.yaml."""

    kind: Literal["train"]
    """What the file describes."""
