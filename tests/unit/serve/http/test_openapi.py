"""The description of the HTTP interface: it is valid, its examples fit it, and the server answers as it says."""

import asyncio
import io
import json
import re
import shlex
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from PIL import Image
from referencing import Registry
from referencing.jsonschema import DRAFT202012

import serve
from serve.access.admission import RequestLimits
from serve.access.keys import ApiKeys, Guard, new_key
from serve.api import Api
from serve.errors import STATUSES, ErrorKind
from serve.http.openapi import openapi
from serve.loaded_version import EngineOptions
from serve.shelf import Shelf
from tests.tiny_shelf import make_tiny_shelf

METHODS = ("get", "post")
ROOT = "urn:openapi"


def described(models: list[str]) -> dict[str, Any]:
    return openapi(Api(Shelf()).protocols, models)


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return described(["tiny"])


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    return make_tiny_shelf(tmp_path_factory.mktemp("bundles"), EngineOptions(max_pixels=1_000_000))


@pytest.fixture(scope="module")
def check(document: dict[str, Any]) -> Callable[[dict[str, Any], Any], None]:
    """Checks a value against a schema of the document, whose references it resolves."""
    registry: Registry = Registry().with_resource(ROOT, DRAFT202012.create_resource(document))

    def validated(schema: dict[str, Any], value: Any) -> None:
        Draft202012Validator(_absolute(schema), registry=registry).validate(value)

    return validated


def _absolute(part: Any) -> Any:
    if isinstance(part, dict):
        return {key: ROOT + each if key == "$ref" else _absolute(each) for key, each in part.items()}
    return [_absolute(each) for each in part] if isinstance(part, list) else part


def resolved(document: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in part:
        reference = part["$ref"]
        part = document
        for name in reference.removeprefix("#/").split("/"):
            part = part[name]
    return part


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """As (path, method, operation), with the path's parameters in the operation."""
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                shared = [*item.get("parameters", ()), *item[method].get("parameters", ())]
                yield path, method, {**item[method], "parameters": shared}


def bodies(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The media types of all requests and answers."""
    for _, _, operation in operations(document):
        parts = [*operation["responses"].values(), *([operation["requestBody"]] if "requestBody" in operation else [])]
        for part in parts:
            yield from resolved(document, part).get("content", {}).values()


@pytest.mark.parametrize("models", [[], ["tiny"], ["photos", "sketches"]])
def test_it_is_a_valid_openapi_document(models: list[str]) -> None:
    made = described(models)
    validate(made)
    assert json.loads(json.dumps(made)) == made
    assert resolved(made, made["components"]["parameters"]["model"])["schema"].get("enum", []) == models


def test_its_examples_fit_their_schemas(document: dict[str, Any], check: Callable[..., None]) -> None:
    checked = 0
    for media in bodies(document):
        examples = [each["value"] for each in media.get("examples", {}).values()]
        for example in [*examples, *([media["example"]] if "example" in media else [])]:
            check(media["schema"], example)
            checked += 1
    assert checked > 50


def test_every_error_of_the_server_is_described_and_every_described_one_may_be_met(document: dict[str, Any]) -> None:
    described = {
        (int(status), code, example["value"]["error"])
        for status, response in document["components"]["responses"].items()
        for code, example in response["content"]["application/json"]["examples"].items()
    }
    assert described == {(kind.status, kind.code, kind.example) for kind in ErrorKind}
    assert {kind.status for kind in ErrorKind} == STATUSES.keys()
    source = "\n".join(file.read_text() for file in Path(serve.__file__).parent.rglob("*.py"))
    assert {kind.name for kind in ErrorKind} == set(re.findall(r"\bErrorKind\.([A-Z_]+)", source))


def test_what_the_server_answers_is_described(
    document: dict[str, Any], check: Callable[..., None], shelf: Shelf
) -> None:
    """Each operation with its own example, then with what each status is for."""

    async def ask_all() -> set[tuple[str, int]]:
        key, entry = new_key("tests", images_per_s=0.001, burst=1)
        found: set[tuple[str, int]] = set()
        apis = {
            "open": Api(shelf),
            "narrow": Api(shelf, limits=RequestLimits(body_bytes=2000, images=2)),
            "keys": Api(shelf, Guard(ApiKeys(keys=(entry,)))),
            "empty": Api(Shelf()),
        }
        clients = {
            name: httpx.AsyncClient(transport=httpx.ASGITransport(app=api), base_url="http://tiny")
            for name, api in apis.items()
        }
        for path, method, operation in operations(document):
            address = path.replace("{model}", "tiny").replace("{version}", "1")
            for name, question in questions(document, operation):
                for where, client in clients.items():
                    headers = dict(question.get("headers", {}))
                    if where == "keys" and name == "good":
                        headers["authorization"] = f"Bearer {key}"
                    answer = await client.request(method, address, **{**question, "headers": headers})
                    conforms(document, check, operation, answer)
                    found.add((name, answer.status_code))
            if "{model}" in path:
                answer = await clients["open"].request(
                    method, path.replace("{model}", "none").replace("{version}", "1")
                )
                conforms(document, check, operation, answer)
                assert answer.status_code == 404
            answer = await clients["open"].request("PUT", address)
            conforms(document, check, operation, answer)
            assert answer.status_code == 405
        return found

    found = asyncio.run(ask_all())
    assert {("good", 200), ("good", 404), ("good", 429), ("good", 503), ("raw", 200), ("raw", 401)} <= found
    assert {("form", 200), ("form", 413), ("large", 413), ("text", 415), ("cut", 400), ("huge", 422)} <= found
    assert {("empty", 400), ("bad json", 400), ("large top_k", 400), ("unknown explain", 400)} <= found


def questions(document: dict[str, Any], operation: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Requests of one operation by a name."""
    if "requestBody" not in operation:
        yield "good", {}
        return
    content = operation["requestBody"]["content"]
    yield "good", {"json": content["application/json"]["example"]}
    yield "empty", {"content": b""}
    yield "bad json", {"content": b"{", "headers": {"content-type": "application/json"}}
    if "multipart/form-data" not in content:
        return
    png = picture()
    yield "raw", {"content": png, "params": {"top_k": 2, "explain": "cam"}, "headers": {"content-type": "image/png"}}
    yield "form", {"files": [("image", png), ("image", png), ("image", png)]}
    yield "cut", {"content": png[:-30]}
    yield "text", {"content": b"no picture"}
    yield "large", {"content": b"\0" * 3000}
    yield "huge", {"content": picture(1200)}
    yield "large top_k", {"content": png, "params": {"top_k": 1001}}
    yield "unknown explain", {"content": png, "params": {"explain": "lime"}}


def picture(side: int = 16) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (side, side), "red").save(file, "PNG")
    return file.getvalue()


def conforms(
    document: dict[str, Any], check: Callable[..., None], operation: dict[str, Any], answer: httpx.Response
) -> None:
    """Status, content type, headers and body are as the document says."""
    responses = operation["responses"]
    said = f"{operation['operationId']}: {answer.status_code} {answer.text[:200]}"
    assert str(answer.status_code) in responses, said
    response = resolved(document, responses[str(answer.status_code)])
    media = response["content"][answer.headers["content-type"].partition(";")[0]]
    if "json" in answer.headers["content-type"]:
        check(media["schema"], answer.json())
    for name, header in response.get("headers", {}).items():
        if name.startswith("inference"):
            continue
        assert name in answer.headers, f"{said}: no {name}"
        schema = resolved(document, header)["schema"]
        value = answer.headers[name]
        check(schema, int(value) if schema["type"] == "integer" else value)


def test_the_curl_examples_are_requests_of_their_operations(document: dict[str, Any]) -> None:
    for path, _, operation in operations(document):
        assert operation["x-codeSamples"]
        for sample in operation["x-codeSamples"]:
            words = shlex.split(sample["source"].replace("\\\n", " "))
            assert words[0] == "curl"
            (address,) = (word for word in words if word.startswith("$URL"))
            pattern = re.escape(path).replace(r"\{model\}", "tiny").replace(r"\{version\}", r"\d+")
            assert re.fullmatch(pattern, urllib.parse.urlsplit(address.removeprefix("$URL")).path)
            sends = bool({"--data-binary", "-F", "-d"} & set(words))
            assert sends == ("requestBody" in operation)
