"""The description of the HTTP interface: an OpenAPI 3.1 document (spec.openapis.org/oas/v3.1.0), made by hand.

It is precise enough to test the server by: every status that an operation may answer is in it, with its codes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from scenerec import __version__
from serve.http.openapi_answers import (
    EXAMPLE_MODEL,
    EXAMPLE_PNG,
    Part,
    content,
    curl,
    error_responses,
    errors,
    headers,
    plain,
    ref,
    schema_ref,
    success,
)
from serve.http.openapi_schemas import explain, model_name, schemas, top_k
from serve.oip.openapi import v2_paths

_DESCRIPTION = """\
Send a photograph, get the places that it may show.

Where the server asks for an API key, it goes into the header `authorization: Bearer KEY` or `x-api-key: KEY`.
Every answer carries `x-request-id`: the one of the request or a new one. Every error is one line of JSON with a `code`
that a program may rely on. All requests are idempotent: after 429, 503 and a lost connection, send them again."""

_SECURITY: Mapping[str, Part] = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
}
_OPTIONAL_KEY: list[Part] = [{"bearer": []}, {"apiKey": []}, {}]  # the last for servers that ask for none
_PREDICT_STATUSES = (400, 401, 404, 405, 408, 413, 415, 422, 429, 500, 503, 504)


def openapi(models: Sequence[str]) -> dict[str, Any]:
    """The document of a server of these models."""
    example = models[0] if models else EXAMPLE_MODEL
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "scenerec",
            "version": __version__,
            "summary": "Scene classification over HTTP.",
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": ".", "description": "Where this document lies."}],
        "security": _OPTIONAL_KEY,
        "tags": [
            {"name": "predict", "description": "Photographs in, places out."},
            {"name": "models", "description": "What is served."},
            {"name": "health", "description": "For load balancers and Kubernetes. These need no key."},
            {"name": "v2", "description": "The Open Inference Protocol, as NVIDIA's tritonclient speaks it."},
            {"name": "pages", "description": "For people, and this document. These need no key."},
        ],
        "paths": _predict_paths(example) | _model_paths(example) | _health_paths() | v2_paths(example) | _page_paths(),
        "components": {
            "schemas": schemas(models),
            "responses": error_responses(),
            "headers": headers(),
            "parameters": _parameters(models),
            "securitySchemes": dict(_SECURITY),
        },
    }


def _parameters(models: Sequence[str]) -> Part:
    def in_path(name: str, description: str, schema: Part) -> Part:
        return {"name": name, "in": "path", "required": True, "description": description, "schema": schema}

    def in_query(name: str, description: str, schema: Part) -> Part:
        return {"name": name, "in": "query", "description": description, "schema": schema}

    return {
        "model": in_path("model", "Name of a model.", model_name(models)),
        "version": in_path(
            "version", "Number of a version that is served.", {"type": "string", "pattern": "^[^/:]+$", "example": "1"}
        ),
        "top_k": in_query("top_k", "So many classes are named.", top_k()),
        "explain": in_query("explain", "`cam` adds the class activation map of the first class.", explain()),
        "request-id": {
            "name": "x-request-id",
            "in": "header",
            "description": (
                "The caller's name for this request: it comes back, and is in the server's log. One that is longer "
                "than 128 characters, or not printable, is replaced."
            ),
            "schema": {"type": "string"},
        },
    }


def _operation(tag: str, name: str, summary: str, responses: Part, samples: list[Part], **more: Any) -> Part:
    return {
        "operationId": name,
        "tags": [tag],
        "summary": summary,
        **more,
        "responses": responses,
        "x-codeSamples": samples,
    }


def _predict_paths(example: str) -> Part:
    answer = {
        "model": example,
        "version": "3",
        "request_id": "5c1e6f0b9d3a7e42",
        "predictions": [
            {
                "classes": [{"label": "beach", "probability": 0.930112}, {"label": "coast", "probability": 0.041207}],
                "indoor_outdoor": "outdoor",
                "category": ["nature", "water"],
            }
        ],
        "timings_ms": {"total": 5.1, "queued": 0.2, "prepared": 1.3, "inferred": 3.2},
    }
    image = {"schema": schema_ref("Photograph")}
    body = {
        "required": True,
        "description": "One image as it is; or a form of several; or JSON with images in base64.",
        "content": {
            "image/jpeg": image,
            "image/png": image,
            "image/webp": image,
            "application/octet-stream": image,
            "multipart/form-data": {"schema": schema_ref("PredictForm")},
            **content(
                schema_ref("PredictJson"),
                example={"images": [EXAMPLE_PNG], "top_k": 3},
            ),
        },
    }
    description = (
        "The kind of an image is found by its content. It is turned upright by its EXIF data, scaled, and cropped to "
        "the square in the middle, just as in the model's evaluation. Any other Content-Type is read as one image."
    )
    query = [ref("parameters", name) for name in ("top_k", "explain", "request-id")]

    def operation(name: str, summary: str, path: str) -> Part:
        return _operation(
            "predict",
            name,
            summary,
            {"200": success("What the images show.", "Predictions", answer), **errors(*_PREDICT_STATUSES)},
            [
                *curl(f"'$URL{path}?top_k=5'", ["-H 'content-type: image/jpeg'", "--data-binary @holiday.jpg"]),
                *curl(f"'$URL{path}'", ["-F image=@holiday.jpg", "-F image=@kitchen.png"]),
            ],
            description=description,
            requestBody=body,
        )

    return {
        "/v1/models/{model}:predict": {
            "parameters": [ref("parameters", "model"), *query],
            "post": operation("predict", "Name the places in photographs", f"/v1/models/{example}:predict"),
        },
        "/v1/models/{model}/versions/{version}:predict": {
            "parameters": [ref("parameters", "model"), ref("parameters", "version"), *query],
            "post": operation(
                "predictByVersion", "The same by one version", f"/v1/models/{example}/versions/1:predict"
            ),
        },
    }


def _model_paths(example: str) -> Part:
    model = {
        "name": example,
        "versions": [
            {
                "version": "3",
                "weight": 1.0,
                "url": f"s3://scenes/registry/{example}/3",
                "precision": "int8",
                "arch": "resnet50",
            }
        ],
        "labels": 365,
        "image_size": 224,
        "explains": True,
        "eval_crop_ratio": 0.875,
    }
    listed = success("What is served.", "Models", {"models": [model]})
    described = success("The model.", "ModelWithLabels", model | {"labels": ["airfield", "airplane_cabin", "…"]})
    return {
        "/v1/models": {
            "get": _operation(
                "models",
                "listModels",
                "List the models that are served",
                {"200": listed, **errors(401, 405, 500, 503)},
                curl("$URL/v1/models"),
            )
        },
        "/v1/models/{model}": {
            "parameters": [ref("parameters", "model")],
            "get": _operation(
                "models",
                "getModel",
                "Describe a model, with its labels",
                {"200": described, **errors(401, 404, 405, 500, 503)},
                curl(f"$URL/v1/models/{example}"),
            ),
        },
    }


def _health_paths() -> Part:
    not_ready = {
        "description": "Nothing is served yet.",
        "content": content(schema_ref("NotReady"), example={"status": "not_ready", "models": {}}),
    }
    ready = success("There is a model to ask.", "Ready", {"status": "ready", "models": {EXAMPLE_MODEL: ["3"]}})
    return {
        "/healthz": {
            "get": _operation(
                "health",
                "alive",
                "Whether the server runs",
                {"200": success("It does.", "Alive", {"status": "ok"}), **errors(405)},
                curl("$URL/healthz"),
                security=[],
            )
        },
        "/readyz": {
            "get": _operation(
                "health",
                "ready",
                "Whether there is a model to ask",
                {"200": ready, "503": not_ready, **errors(405)},
                curl("$URL/readyz"),
                security=[],
            )
        },
    }


def _page_paths() -> Part:
    def page(name: str, summary: str, path: str, answer: Part) -> Part:
        responses = {"200": answer, **errors(405)}
        return {"get": _operation("pages", name, summary, responses, curl(f"$URL{path}"), security=[])}

    document = {
        "description": "An OpenAPI 3.1 document.",
        "content": content({"type": "object", "required": ["openapi", "info", "paths"]}),
    }
    return {
        "/": page("page", "Try the models out", "/", plain("The page.", "text/html")),
        "/docs": page("docs", "This description, for people", "/docs", plain("The page.", "text/html")),
        "/openapi.json": page("description", "This description", "/openapi.json", document),
    }
