"""Minutes of fuzzing: odd weights, configs, pictures at every door, folders and lists, requests, answers, OpenAPI.

python -m tests.fuzz [--seed SEED] [--weights COUNT] [--yaml COUNT] [--images COUNT] [--doors COUNT] ...

Also: make fuzz. Prints what was tried and what came out; ends with 1 where something should not have come out. Another
seed tries other inputs.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.answer_fuzz import fuzz_answers
from tests.connection_fuzz import fuzz_connections
from tests.door_fuzz import fuzz_doors
from tests.folder_fuzz import fuzz_folders, fuzz_labels
from tests.grpc_fuzz import fuzz_messages
from tests.http_fuzz import first_class, fuzz_bodies, fuzz_pictures
from tests.image_fuzz import Outcome, fuzz_images
from tests.schema_fuzz import fuzz_schema
from tests.store_fuzz import fuzz_downloads, fuzz_store
from tests.tiny_server import tiny_server
from tests.weight_fuzz import fuzz_weights
from tests.yaml_fuzz import fuzz_yaml


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description="Fuzzes what reads weights, configs and pictures, and the server.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--weights", type=int, default=4000, help="odd files each of torch and safetensors")
    parser.add_argument("--keras", type=int, default=100, help="odd files of Keras, of which each takes a second")
    parser.add_argument("--yaml", type=int, default=10_000, help="odd configs")
    parser.add_argument("--images", type=int, default=20_000, help="damaged pictures for the decoder")
    parser.add_argument("--doors", type=int, default=10_000, help="damaged pictures for all that decodes pictures")
    parser.add_argument("--folders", type=int, default=3000, help="odd folders and lists of images to pack")
    parser.add_argument("--labels", type=int, default=3000, help="odd files of class names")
    parser.add_argument("--posts", type=int, default=3000, help="damaged pictures for the server")
    parser.add_argument("--bodies", type=int, default=10_000, help="damaged forms, JSON and tensors for the server")
    parser.add_argument("--messages", type=int, default=10_000, help="damaged messages for the server, by gRPC")
    parser.add_argument("--connections", type=int, default=3000, help="damaged bytes for the server")
    parser.add_argument(
        "--answers", type=int, default=3000, help="damaged answers for the client, of a store, of a web server"
    )
    parser.add_argument("--schema-s", type=int, default=90, help="seconds of schemathesis")
    given = parser.parse_args()
    weights = fuzz_weights(given.weights, given.seed, ("torch", "safetensors"))
    _tell("odd weight files", weights)
    keras = fuzz_weights(given.keras, given.seed, ("keras",))
    _tell("odd weight files of Keras", keras)
    configs = fuzz_yaml(given.yaml, given.seed)
    _tell("odd configs", configs)
    images = fuzz_images(given.images, given.seed)
    _tell("damaged pictures, decoder", images)
    doors = fuzz_doors(given.doors, given.seed + 2)
    _tell("damaged pictures, packing, both frameworks and predicting", doors)
    folders = fuzz_folders(given.folders, given.seed)
    _tell("odd folders and lists, packing", folders)
    labels = fuzz_labels(given.labels, given.seed)
    _tell("odd files of class names", labels)
    answers = fuzz_answers(given.answers, given.seed)
    _tell("damaged answers, client", answers)
    stores, downloads = fuzz_store(given.answers, given.seed), fuzz_downloads(given.answers, given.seed)
    _tell("damaged answers, S3", stores)
    _tell("damaged answers, downloads", downloads)
    with tempfile.TemporaryDirectory() as folder, tiny_server(Path(folder)) as (address, by_grpc):
        posts = fuzz_pictures(address, given.posts, given.seed + 1)
        _tell("damaged pictures, HTTP", posts)
        bodies = fuzz_bodies(address, given.bodies, given.seed)
        _tell("damaged forms, JSON, tensors, headers and addresses, HTTP", bodies)
        messages = fuzz_messages(by_grpc, given.messages, given.seed)
        _tell("damaged messages, gRPC", messages)
        connections = fuzz_connections(address, given.connections, given.seed)
        _tell("damaged bytes on a connection, HTTP", connections)
        schema = fuzz_schema(address, examples=100, max_time_s=given.schema_s, seed=given.seed)
        print(f"requests by the OpenAPI document: {schema.inputs}: {'as documented' if schema.passed else 'NOT so'}")
        if not schema.passed:
            print(schema.report)
        print(f"afterwards the server says of a blue picture: {first_class(address, 'blue')}")
    tried = (
        weights,
        keras,
        configs,
        images,
        doors,
        folders,
        labels,
        answers,
        stores,
        downloads,
        posts,
        bodies,
        messages,
        connections,
    )
    return 0 if schema.passed and not any(each.wrong for each in tried) else 1


def _tell(what: str, found: Outcome) -> None:
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in found.outcomes.items())
    print(f"{what}: {found.inputs}: {outcomes}")
    print(f"  slowest: {found.slowest_s} s, {found.slowest}" + (f"; +{found.grown_mb} MB" if found.grown_mb else ""))
    for wrong in found.wrong:
        print(f"  WRONG {wrong}")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
