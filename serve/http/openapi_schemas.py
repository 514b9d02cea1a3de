"""Of the OpenAPI document: the shapes of what is sent and answered."""

from collections.abc import Sequence
from typing import Any

from serve.http.openapi_answers import EXAMPLE_PNG, Part, error_codes, schema_ref
from serve.v1.question import DEFAULT_TOP_K, LARGEST_TOP_K

V2_DATATYPES = ("UINT8", "FP32", "BYTES")


def top_k() -> Part:
    """How many classes are named."""
    return {"type": "integer", "minimum": 1, "maximum": LARGEST_TOP_K, "default": DEFAULT_TOP_K}


def explain() -> Part:
    """Whether a heat map is added."""
    return {"type": "string", "enum": ["cam"]}


def model_name(models: Sequence[str]) -> Part:
    """Of a model in the address; any that has neither slash nor colon while nothing is served."""
    return {"type": "string", "enum": list(models)} if models else {"type": "string", "pattern": "^[^/:]+$"}


def schemas(models: Sequence[str]) -> Part:
    """The component of that name."""
    return _errors() | _questions() | _predictions() | _models(models) | _health() | _v2()


def closed(required: Part, optional: Part | None = None, **more: Any) -> Part:
    """An object of these properties and no other."""
    properties = {**required, **(optional or {})}
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
        **more,
    }


def _text(description: str = "", **more: Any) -> Part:
    return {"type": "string", **({"description": description} if description else {}), **more}


def _number(description: str, **more: Any) -> Part:
    return {"type": "number", "minimum": 0, "description": description, **more}


def _list(items: Part, description: str = "", **more: Any) -> Part:
    return {"type": "array", "items": items, **({"description": description} if description else {}), **more}


def _errors() -> Part:
    return {
        "Error": {
            "type": "object",
            "description": "Every error is such a document, whatever was asked.",
            "properties": {
                "error": _text("One line for people: what is wrong, and the remedy.", pattern="^[^\\r\\n]+$"),
                "code": _text("For programs; codes do not change.", enum=error_codes()),
                "request_id": _text("Finds the request in the server's log."),
            },
            "required": ["error", "code", "request_id"],
            "additionalProperties": False,
        }
    }


def _questions() -> Part:
    image = _text("A JPEG, PNG or WebP file, base64.", contentEncoding="base64", minLength=1)
    options = {
        "top_k": {**top_k(), "description": "Wins over the one in the address."},
        "explain": {**explain(), "description": "Wins over the one in the address."},
    }
    images = _list(image, "Answered in their order.", minItems=1)
    photograph = {"type": "string", "format": "binary", "description": "A JPEG, PNG or WebP file."}
    return {
        "Photograph": photograph,
        "PredictJson": closed({"images": images}, options, example={"images": [EXAMPLE_PNG], "top_k": 3}),
        "PredictForm": {
            "type": "object",
            "description": "Every part is a photograph, whatever its name; answered in their order.",
            "properties": {"image": _list(photograph, minItems=1)},
            "required": ["image"],
            "additionalProperties": False,
        },
    }


def _predictions() -> Part:
    probability = {"type": "number", "minimum": 0, "maximum": 1}
    heat_map = closed(
        {
            "label": _text("The class that the map speaks for: the first one."),
            "png": _text(
                "A transparent PNG of image_size x image_size pixels, to be laid over what the network sees: the "
                "square of eval_crop_ratio times the shorter side, in the middle of the picture.",
                contentEncoding="base64",
                contentMediaType="image/png",
            ),
        }
    )
    prediction = closed(
        {"classes": _list(schema_ref("Class"), "The most probable ones, the first first.", minItems=1)},
        {
            "indoor_outdoor": _text("Of the first class, where it is known.", enum=["indoor", "outdoor"]),
            "category": _list(_text(), "Of the first class, where they are known; the widest first."),
            "heat_map": heat_map,
        },
    )
    timings = closed(
        {
            "total": _number("From the request's beginning to its answer."),
            "queued": _number("Of that waiting for the network."),
            "prepared": _number("Of that decoding and resizing, all images together."),
            "inferred": _number("Of that computing, with whatever else was in the batch."),
        }
    )
    return {
        "Class": closed({"label": _text(), "probability": probability}),
        "Prediction": prediction,
        "Timings": {**timings, "description": "Milliseconds."},
        "Predictions": closed(
            {
                "model": _text(),
                "version": _text("The one that answered."),
                "request_id": _text(),
                "predictions": _list(schema_ref("Prediction"), "One for each image, in order.", minItems=1),
                "timings_ms": schema_ref("Timings"),
            }
        ),
    }


def _models(models: Sequence[str]) -> Part:
    version = closed(
        {
            "version": _text(),
            "weight": {
                "type": "number",
                "minimum": 0,
                "maximum": 1,
                "description": "Its share of the requests that name no version.",
            },
            "url": _text("Where its bundle lies."),
            "precision": _text(enum=["fp32", "fp16", "int8", "int8-dynamic"]),
            "arch": {"type": ["string", "null"], "description": "Name of the architecture, where it has one."},
        }
    )
    common = {
        "name": model_name(models),
        "versions": _list(schema_ref("Version"), minItems=1),
        "image_size": {"type": "integer", "minimum": 1, "description": "Side of the square that the network sees."},
        "explains": {"type": "boolean", "description": "Whether it has heat maps."},
    }
    ratio = {
        "eval_crop_ratio": {
            "type": "number",
            "exclusiveMinimum": 0,
            "maximum": 1,
            "description": "Side of the square that the network sees over the picture's shorter side.",
        }
    }
    count = {"type": "integer", "minimum": 1, "description": "How many classes it tells apart."}
    return {
        "Version": version,
        "Model": closed({**common, "labels": count}, ratio),
        "ModelWithLabels": closed({**common, "labels": _list(_text(), "By class index.", minItems=1)}, ratio),
        "Models": closed({"models": _list(schema_ref("Model"))}),
    }


def _health() -> Part:
    served = {
        "type": "object",
        "additionalProperties": _list(_text()),
        "description": "By model the versions that are served.",
    }
    return {
        "Alive": closed({"status": {"const": "ok"}}),
        "Ready": closed({"status": {"const": "ready"}, "models": served}),
        "NotReady": closed({"status": {"const": "not_ready"}, "models": served}),
    }


def _v2() -> Part:
    """The Open Inference Protocol's. Callers may send keys that are not listed: extensions do."""
    datatype = _text(enum=list(V2_DATATYPES))
    shape = _list({"type": "integer", "minimum": 0})
    parameters = {"type": "object", "description": "Of extensions.", "additionalProperties": True}
    metadata = {
        "type": "object",
        "properties": {
            "name": _text(),
            "datatype": datatype,
            "shape": _list({"type": "integer", "minimum": -1}, "-1 for any length."),
        },
        "required": ["name", "datatype", "shape"],
    }
    tensor: Part = {
        "type": "object",
        "properties": {
            "name": _text(),
            "datatype": datatype,
            "shape": shape,
            "parameters": parameters,
            "data": _list({}, "In row-major order; left out where it follows the JSON in binary form."),
        },
        "required": ["name", "datatype", "shape"],
    }
    configured = {
        "type": "object",
        "properties": {
            "name": _text(),
            "data_type": _text(enum=["TYPE_UINT8", "TYPE_FP32", "TYPE_STRING"]),
            "dims": _list({"type": "integer", "minimum": 1}),
            "optional": {"type": "boolean"},
        },
        "required": ["name", "data_type", "dims"],
    }
    given = {
        **tensor,
        "properties": {
            **tensor["properties"],
            "name": _text(
                "`images`: UINT8 [batch, size, size, 3], prepared RGB. `photographs`: BYTES [batch], encoded files, "
                "in binary form or as base64.",
                enum=["images", "photographs"],
            ),
            "datatype": _text(enum=["UINT8", "BYTES"]),
        },
    }
    wanted = {
        "type": "object",
        "properties": {
            "name": _text(enum=["probabilities", "logits"]),
            "parameters": {
                "type": "object",
                "properties": {
                    "classification": {
                        "type": "integer",
                        "minimum": 1,
                        "description": 'So many classes as BYTES "value:index:label" in place of the tensor.',
                    },
                    "binary_data": {"type": "boolean", "description": "Whether it comes in binary form."},
                },
            },
        },
        "required": ["name"],
    }
    return {
        "V2Live": closed({"live": {"const": True}}),
        "V2Ready": closed({"ready": {"const": True}}),
        "V2ModelReady": closed({"name": _text(), "ready": {"const": True}}),
        "V2Config": {
            "type": "object",
            "properties": {
                "name": _text(),
                "platform": _text(),
                "max_batch_size": {"type": "integer", "minimum": 1},
                "input": _list(configured),
                "output": _list(configured),
            },
            "required": ["name", "platform", "max_batch_size", "input", "output"],
        },
        "V2Server": {
            "type": "object",
            "properties": {"name": _text(), "version": _text(), "extensions": _list(_text())},
            "required": ["name", "version", "extensions"],
        },
        "V2Model": {
            "type": "object",
            "properties": {
                "name": _text(),
                "versions": _list(_text()),
                "platform": _text(),
                "inputs": _list(metadata),
                "outputs": _list(metadata),
            },
            "required": ["name", "platform", "inputs", "outputs"],
        },
        "V2Question": {
            "type": "object",
            "properties": {
                "id": _text("Comes back with the answer."),
                "parameters": parameters,
                "inputs": _list(given, minItems=1, maxItems=1),
                "outputs": _list(wanted, "Both where nothing is named."),
            },
            "required": ["inputs"],
        },
        "V2Answer": {
            "type": "object",
            "properties": {
                "id": _text(),
                "model_name": _text(),
                "model_version": _text("The one that answered."),
                "parameters": parameters,
                "outputs": _list(tensor),
            },
            "required": ["model_name", "outputs"],
        },
    }
