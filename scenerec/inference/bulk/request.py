"""What is asked of a bulk prediction: which images, of which model, and where the answers go."""

from typing import Literal

from pydantic import Field

from scenerec.data.coordinates import Coordinates
from scenerec.frozen import Frozen, Sha256

Form = Literal["parquet", "csv", "jsonl"]
"""Format of a table."""

FORMS: tuple[Form, ...] = ("parquet", "csv", "jsonl")
"""The formats of a table; each is the suffix of its files."""

BATCH_SIZE = 8
"""Images that the network is given at once: larger batches leave the processor's caches, and take longer an image."""


class Question(Frozen):
    """What decides the answers, to the last bit, beside the images themselves: the answers to another are others."""

    sources: tuple[str, ...] = Field(min_length=1)
    """Addresses of images, of folders of images and of packed sets."""
    model_sha256: Sha256
    """SHA-256 of the model's bundle.json, which has those of the model's files."""
    form: Form
    """Format of the table."""
    top_k: int = Field(5, ge=1)
    """Classes that are named for each image."""
    batch_size: int = Field(BATCH_SIZE, ge=1)
    """Images that the network is given at once."""
    images_per_part: int | None = Field(None, ge=1)
    """Images whose answers are written at once; none: see `cut_parts`. Of a packed set it is a shard."""
    embeddings: bool = False
    """Whether the table has what the classifying layer is given of each image."""
    coordinates: Coordinates | None = None
    """Where and when all images were taken, but those that say it themselves."""
    coordinates_from_exif: bool = False
    """Whether images say in their EXIF where and when they were taken."""


class PredictRequest(Frozen):
    """A bulk prediction to be made."""

    question: Question
    """What decides the answers."""
    model: str
    """Address of the bundle."""
    output: str
    """Where the answers go: a file .parquet, .csv or .jsonl, or a folder of such; local or s3://."""
    threads: int = Field(0, ge=0)
    """Threads that decode and compute; 0: one a core."""
    workers: int = Field(0, ge=0)
    """Processes on a cluster; 0: none but this one."""
    overwrite: bool = False
    """Whether other answers that are there are deleted first."""
    keep_listing: bool = False
    """Whether a prediction that goes on leaves out images that have come since it began."""
