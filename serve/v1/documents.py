"""The JSON documents of the service's own protocol."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypeAliasType

from scenerec.config.task import ModelTask
from scenerec.models.preprocessing import Interpolation
from serve.http.json_body import Absent, JsonBody
from serve.http.model_name import ModelName
from serve.http.operation import EXAMPLE_PNG

DEFAULT_TOP_K = 5
"""How many classes are named where a request does not say."""
LARGEST_TOP_K = 1000
"""How many classes may be asked for."""

TopK = Annotated[int, Field(ge=1, le=LARGEST_TOP_K)]
Share = Annotated[float, Field(ge=0, le=1)]
Milliseconds = Annotated[float, Field(ge=0)]

Photograph = TypeAliasType("Photograph", Annotated[bytes, Field(description="A JPEG, PNG, WebP, GIF or BMP file.")])
"""A file as it is."""

_BASE64 = {"contentEncoding": "base64"}
_Base64Photograph = Annotated[
    str, Field(min_length=1, description="A JPEG, PNG, WebP, GIF or BMP file, base64.", json_schema_extra=_BASE64)
]


@dataclass
class ClassBody(JsonBody):
    """A class, and how probable the model holds it for."""

    label: str
    probability: Share


@dataclass
class HeatMapBody(JsonBody):
    """Where in the image the model saw what speaks for a class."""

    label: str
    """The class that the map speaks for: the first one."""
    png: Annotated[str, Field(json_schema_extra=_BASE64 | {"contentMediaType": "image/png"})]
    """A transparent PNG of image_size x image_size pixels, to be laid over what the network sees: the square of
    eval_crop_ratio times the shorter side, in the middle of the picture."""


@dataclass
class PredictionBody(JsonBody):
    """What one photograph shows."""

    classes: list[ClassBody]
    """The most probable ones, the first first; none where the model gives an embedding."""
    indoor_outdoor: Literal["indoor", "outdoor"] | Absent = None
    """Whether the first class is found indoors or outdoors, where that is known."""
    category: tuple[str, ...] = ()
    """Categories of the first class, where they are known; the widest first."""
    abstained: bool | Absent = None
    """Whether the model is not sure enough of the first class for the precision that it was exported with; absent where
    it was exported with none."""
    given_labels: list[ClassBody] | Absent = None
    """The labels that a multi-label model gives the image, those at or above their own thresholds, the most probable
    first; there may be none. Absent where the model tells one class."""
    heat_map: HeatMapBody | Absent = None
    """Where the network sees the first class, if it was asked for."""
    embedding: list[float] | Absent = None
    """The features of the image, as they are, where the model gives those in place of classes."""


@dataclass
class TimingsBody(JsonBody):
    """Milliseconds."""

    total: Milliseconds
    """From the request's beginning to its answer."""
    queued: Milliseconds
    """The part of the total that was waiting for the network."""
    prepared: Milliseconds
    """The part of the total that was decoding and resizing, all images together."""
    inferred: Milliseconds
    """The part of the total that was computing, with whatever else was in the batch."""


@dataclass
class PredictionsBody(JsonBody):
    """What the photographs of a request show."""

    model: str
    version: str
    """The one that answered."""
    request_id: str
    predictions: Annotated[list[PredictionBody], Field(min_length=1)]
    """One for each image, in order."""
    timings_ms: TimingsBody


@dataclass
class PredictFormBody(JsonBody):
    """Every part is a photograph, whatever its name; answered in their order. But for `lat`, `lon` and `time`.

    These are fields without a file name, as in JSON.
    """

    image: Annotated[list[Photograph], Field(min_length=1)]
    lat: Annotated[float, Field(ge=-90, le=90)] | Absent = None
    """Degrees north at which the photographs were taken."""
    lon: Annotated[float, Field(ge=-180, le=180)] | Absent = None
    """Degrees east."""
    time: str | Absent = None
    """An ISO date."""


@dataclass
class PredictJsonBody(JsonBody):
    """Photographs as JSON."""

    images: Annotated[list[_Base64Photograph], Field(min_length=1)]
    """Answered in their order."""
    top_k: TopK = DEFAULT_TOP_K
    """Wins over the one in the address."""
    explain: Literal["cam"] | Absent = None
    """Wins over the one in the address."""
    lat: Annotated[float, Field(ge=-90, le=90)] | Absent = None
    """Degrees north at which the photographs were taken, for a model that reads coordinates; another passes over them.
    Private: they are in no log."""
    lon: Annotated[float, Field(ge=-180, le=180)] | Absent = None
    """Degrees east; comes with `lat`."""
    time: str | Absent = None
    """When they were taken: an ISO date such as 2024-06-21, with or without a time of day."""


@dataclass
class VersionBody(JsonBody):
    """A version of a model that is served."""

    version: str
    weight: Share
    """Its share of the requests that name no version."""
    url: str
    """Where its bundle lies."""
    precision: Literal["fp32", "fp16", "int8", "int8-dynamic"]
    arch: str | None
    """Name of the architecture, where it has one."""


@dataclass
class _ModelFields(JsonBody):
    # pydantic does not read the docstrings of inherited fields.
    name: ModelName
    versions: Annotated[list[VersionBody], Field(min_length=1)]
    image_size: Annotated[int, Field(ge=1, description="Side of the square that the network sees.")]
    eval_crop_ratio: Annotated[
        float,
        Field(gt=0, le=1, description="Side of the square that the network sees over the picture's shorter side."),
    ]
    interpolation: Annotated[Interpolation, Field(description="Filter by which pictures are resized for it.")]
    explains: Annotated[bool, Field(description="Whether it has heat maps.")]
    coordinates: Annotated[bool, Field(description="Whether it reads where a photograph was taken.")]
    task: Annotated[
        ModelTask,
        Field(description="Whether an image has one class, any number of labels, or features and no class."),
    ]


@dataclass
class ModelBody(_ModelFields):
    """A model that is served."""

    labels: Annotated[int, Field(ge=0)]
    """How many classes it tells apart; 0 of one that gives embeddings."""


@dataclass
class ModelWithLabelsBody(_ModelFields):
    """A model that is served, with the names of its classes."""

    labels: tuple[str, ...]
    """Class names by class index; none of a model that gives embeddings."""


@dataclass
class ModelsBody(JsonBody):
    """All that is served."""

    models: list[ModelBody]


EXAMPLE_QUESTION = PredictJsonBody([EXAMPLE_PNG], top_k=3)
