"""LitServe with two workers. BUNDLE is in the environment; PORT and MAX_BATCH are the arguments."""

import os
import sys
from typing import Annotated, Any

import litserve
from fastapi import Body

from tests.bench.serving_peers.model import Model

Image = Annotated[bytes, Body(media_type="image/jpeg")]


class Api(litserve.LitAPI):
    """One photograph at a time."""

    def setup(self, device: str) -> None:
        self.model = Model(os.environ["BUNDLE"])

    def decode_request(self, request: Image) -> Any:
        return self.model.prepare(request)

    def predict(self, image: Any) -> Any:
        return self.model.probabilities([image])[0]

    def encode_response(self, probabilities: Any) -> dict[str, Any]:
        return {"classes": self.model.rank(probabilities)}


class BatchingApi(Api):
    """As many as have come."""

    def batch(self, inputs: list[Any]) -> list[Any]:
        return inputs

    def predict(self, images: Any) -> Any:
        return self.model.probabilities(images)

    def unbatch(self, output: Any) -> list[Any]:
        return list(output)


if __name__ == "__main__":
    port, max_batch = map(int, sys.argv[1:])
    api = BatchingApi(max_batch_size=max_batch, batch_timeout=0.005) if max_batch > 1 else Api()
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=2, timeout=60)
    server.run(host="127.0.0.1", port=port, num_api_servers=1, log_level="warning", generate_client_file=False)
