"""The packed sets that a job reads, and how their images become tensors."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from scenerec.config.augment import AugmentConfig
from scenerec.config.block import Block
from scenerec.config.location import Location
from scenerec.config.numbers import Fraction
from scenerec.frozen import Pattern
from scenerec.models.preprocessing import IMAGENET, Interpolation, WeightPreprocessing
from scenerec.storage import Patience

Level = Annotated[float, Field(ge=0, le=1)]
Deviation = Annotated[float, Field(gt=0, le=1)]

_LONGEST_PATIENCE_S = 1500  # workers wait 1800 s for one that waits


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
    repeats: int = Field(1, ge=1, le=16)
    """Repeated augmentation (Hoffer et al. 2020): how often each image of a batch is in it, each time with another
    view. An epoch keeps its length: it takes so many times fewer images, and so many epochs together take all."""
    image_size: int = Field(224, ge=16, le=1024)
    """Side of the square that the network sees, in pixels."""
    train_size: int | None = Field(None, ge=16, le=1024)
    """Side of the square that it sees while it trains (FixRes: Touvron et al. 2019), in pixels; by default image_size,
    which stays that of evaluation, export and BatchNorm's re-estimated statistics. Smaller, it trains faster."""
    eval_crop_ratio: Fraction | None = None
    """Evaluation resizes the short side to image_size / eval_crop_ratio, then crops the centre. By default as the
    makers of model.weights did, which a run or checkpoint keeps; 0.875 for random weights and where it is not known."""
    interpolation: Interpolation | None = None
    """Filter by which pictures are resized, in training too, antialiased. By default that of model.weights, as
    eval_crop_ratio; else bilinear."""
    mean: tuple[Level, Level, Level] | None = None
    """Mean of red, green and blue in [0, 1], which is subtracted. By default that of model.weights, as eval_crop_ratio;
    else ImageNet's. With std."""
    std: tuple[Deviation, Deviation, Deviation] | None = None
    """Deviation of red, green and blue in [0, 1], which is divided by; with mean."""
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
    def preprocessing(self) -> WeightPreprocessing:
        """What it says of preprocessing, and ImageNet's where it says nothing."""
        return IMAGENET.changed(**{field: getattr(self, field) for field in WeightPreprocessing.model_fields})

    def prepared_by(self, preprocessing: WeightPreprocessing) -> Self:
        """The same with all of this preprocessing."""
        return self.model_copy(update=preprocessing.model_dump())

    @property
    def training_size(self) -> int:
        """Side of the square that the network sees while it trains, in pixels."""
        return self.train_size or self.image_size

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
    def _mean_and_std(self) -> "InputConfig":
        if (self.mean is None) != (self.std is None):
            given, lacking = ("mean", "std") if self.std is None else ("std", "mean")
            raise ValueError(f"{given}: goes with {lacking}: give both, or leave both to model.weights")
        return self

    @model_validator(mode="after")
    def _training_sees_no_more(self) -> "InputConfig":
        if self.training_size > self.image_size:
            raise ValueError(f"train_size: {self.train_size} exceeds image_size ({self.image_size}): lower it")
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
    eval_crops: Literal[1, 10] = 1
    """10: at the end of a run its best checkpoint is evaluated by ten crops of each image as well (Krizhevsky et al.
    2012): corners, centre and their mirrors, probabilities averaged. Validation in between goes by the centre."""
