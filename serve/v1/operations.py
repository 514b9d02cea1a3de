"""The operations of the service's own protocol, for the OpenAPI document.

Each function is given the name of a served model, for the examples.
"""

from serve.http.operation import (
    CONTENT_ENCODING,
    EXAMPLE_ID,
    DescribedAnswer,
    Operation,
    Part,
    curl,
    json_content,
    sample_url,
    schema_ref,
)
from serve.http.request import LONGEST_ID
from serve.v1.documents import (
    DEFAULT_TOP_K,
    EXAMPLE_QUESTION,
    LARGEST_TOP_K,
    ClassBody,
    ModelBody,
    ModelsBody,
    ModelWithLabelsBody,
    Photograph,
    PredictFormBody,
    PredictionBody,
    PredictionsBody,
    PredictJsonBody,
    TimingsBody,
    VersionBody,
)

_IMAGE_TYPES = ("jpeg", "png", "webp", "gif", "bmp")
_PREDICT_ERRORS = (400, 401, 404, 405, 408, 413, 415, 422, 429, 500, 503, 504)

_BODY: Part = {
    "required": True,
    "description": "One image as it is; or a form of several; or JSON with images in base64.",
    "content": {
        **{
            media_type: {"schema": schema_ref(Photograph)}
            for media_type in (*(f"image/{kind}" for kind in _IMAGE_TYPES), "application/octet-stream")
        },
        "multipart/form-data": {"schema": schema_ref(PredictFormBody)},
        **json_content(schema_ref(PredictJsonBody), example=EXAMPLE_QUESTION.to_value()),
    },
}
_PARAMETERS: tuple[Part, ...] = (
    {
        "name": "top_k",
        "in": "query",
        "description": "So many classes are named.",
        "schema": {"type": "integer", "minimum": 1, "maximum": LARGEST_TOP_K, "default": DEFAULT_TOP_K},
    },
    {
        "name": "explain",
        "in": "query",
        "description": "`cam` adds the class activation map of the first class.",
        "schema": {"type": "string", "enum": ["cam"]},
    },
    {
        "name": "x-request-id",
        "in": "header",
        "description": (
            "The caller's name for this request: it comes back, and is in the server's log. One that is longer "
            f"than {LONGEST_ID} characters, or not printable, is replaced."
        ),
        "schema": {"type": "string"},
    },
    CONTENT_ENCODING,
)


def list_models(model: str) -> Operation:
    """The list of what is served."""
    return Operation(
        "listModels",
        "models",
        "List the models that are served",
        DescribedAnswer("What is served.", ModelsBody([_example(model)])),
        errors=(401, 405, 500, 503),
        samples=curl("$URL/v1/models"),
    )


def get_model(model: str) -> Operation:
    """One served model."""
    labels = ("airfield", "airplane_cabin", "…")
    return Operation(
        "getModel",
        "models",
        "Describe a model, with its labels",
        DescribedAnswer("The model.", ModelWithLabelsBody(**{**vars(_example(model)), "labels": labels})),
        errors=(401, 404, 405, 500, 503),
        samples=curl(f"$URL/v1/models/{model}"),
    )


def predict(path: str, name: str, summary: str, model: str) -> Operation:
    """Predictions by a model, or by one of its versions."""
    prediction = PredictionBody(
        [ClassBody("beach", 0.930112), ClassBody("coast", 0.041207)], "outdoor", ("nature", "water")
    )
    url = sample_url(path, model)
    timings = TimingsBody(total=5.1, queued=0.2, prepared=1.3, inferred=3.2)
    return Operation(
        name,
        "predict",
        summary,
        DescribedAnswer("What the images show.", PredictionsBody(model, "3", EXAMPLE_ID, [prediction], timings)),
        errors=_PREDICT_ERRORS,
        samples=[
            *curl(f"'{url}?top_k=5'", ["-H 'content-type: image/jpeg'", "--data-binary @holiday.jpg"]),
            *curl(f"'{url}'", ["-F image=@holiday.jpg", "-F image=@kitchen.png"]),
            *curl(f"'{url}'", ["-F image=@holiday.jpg", "-F lat=52.52", "-F lon=13.40", "-F time=2024-06-21"]),
        ],
        description=(
            "The kind of an image is found by its content. It is turned upright by its EXIF data, scaled, and cropped "
            "to the square in the middle, just as in the model's evaluation. Any other Content-Type is read as one "
            "image."
        ),
        parameters=_PARAMETERS,
        body=_BODY,
        body_types=(Photograph, PredictFormBody, PredictJsonBody),
    )


def _example(model: str) -> ModelBody:
    return ModelBody(
        name=model,
        versions=[VersionBody("3", 1.0, f"s3://scenes/registry/{model}/3", "int8", "resnet50")],
        image_size=224,
        eval_crop_ratio=0.875,
        interpolation="bilinear",
        explains=True,
        coordinates=False,
        task="classification",
        labels=365,
    )
