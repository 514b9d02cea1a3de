"""serve.yaml as frozen models: what is served, to whom, and on how much of the cluster."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from scenerec.config.block import Block
from scenerec.config.job import Name
from scenerec.config.location import Location
from scenerec.frozen import Pattern

Reference = Annotated[str, Field(min_length=1)]


class CanaryConfig(Block):
    """A second version that gets a share of a model's requests."""

    version: Reference
    """NAME, NAME:VERSION, NAME@ALIAS or the address of a bundle."""
    weight: float = Field(0.1, gt=0, lt=1)
    """Share of the requests that name no version."""


class ServedModelConfig(Block):
    """One model of the application."""

    name: Name
    """By which callers ask for it: POST /v1/models/NAME:predict."""
    version: Reference
    """What is served: NAME@ALIAS (photos@production: a promoted version is picked up by itself), NAME:VERSION, NAME
    (the newest), or the address of a bundle."""
    canary: CanaryConfig | None = None
    """A version beside it, on trial."""


class HttpConfig(Block):
    """The endpoint."""

    host: str | None = None
    """Interface that it listens on; by default the embedded cluster's 127.0.0.1, and all interfaces of another one."""
    port: int = Field(8000, ge=1, le=65535)
    """Port of the endpoint, on every node; the first application of a cluster decides for all."""
    grpc_port: int | None = Field(9000, ge=1, le=65535)
    """Port of the Open Inference Protocol over gRPC; `null`: none. The first application decides."""
    route_prefix: Annotated[
        str,
        Pattern(
            r"/([A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*)?",
            "must begin with `/`, end with none, and have letters, digits, `.`, `_` and `-` between, such as /photos",
        ),
    ] = "/"
    """Path that the application is mounted at."""
    api_keys: Location | None = None
    """File of those who may call (`scenerec serve key` writes it), s3:// or on every node; read again when it changes.
    Without it everyone may who reaches the port."""
    max_body_mb: float = Field(20, gt=0, le=1024)
    """Largest request."""
    max_pixels: int = Field(50_000_000, ge=1)
    """Pictures with more pixels are refused by their header."""
    max_images: int = Field(64, ge=1, le=4096)
    """Most images in one request."""
    timeout_s: float = Field(10, gt=0)
    """After it a request that still waits gets a 504."""
    access_log: bool = True
    """A line of JSON for each request in the log of its replica."""
    metrics: bool = True
    """Counters and histograms of each request, in the metrics that Ray's nodes export to Prometheus."""


class ServeScaleConfig(Block):
    """How much of the cluster the application takes: Ray Serve's autoscaling by requests under way."""

    min_replicas: int = Field(1, ge=0)
    """Fewest replicas; 0 lets an idle application go: its next request waits until a replica is up."""
    max_replicas: int = Field(1, ge=1)
    """Most replicas. One per core is best on CPUs."""
    initial_replicas: int | None = Field(None, ge=1)
    """Replicas to begin with; by default min_replicas, at least 1."""
    target_ongoing_requests: float = Field(4, gt=0)
    """Requests under way in a replica, waiting ones included, above which replicas are added."""
    upscale_delay_s: float = Field(3, ge=0)
    """How long there must be more before replicas are added."""
    downscale_delay_s: float = Field(60, ge=0)
    """How long there must be less before replicas are taken away."""
    cpus_per_replica: int = Field(1, ge=1)
    """CPU cores of a replica. With one it decodes and computes in turn; the others decode."""
    gpus_per_replica: float = Field(0, ge=0)
    """GPUs of a replica; a fraction shares one."""
    pin_cpus: bool = False
    """Binds each replica of a node to cores of its own."""

    @model_validator(mode="after")
    def _ordered(self) -> "ServeScaleConfig":
        if self.max_replicas < max(self.min_replicas, 1):
            raise ValueError("max_replicas: must not be less than min_replicas")
        if self.initial_replicas and not self.min_replicas <= self.initial_replicas <= self.max_replicas:
            raise ValueError("initial_replicas: must lie between min_replicas and max_replicas")
        return self


class BatchingConfig(Block):
    """Requests that arrive while a replica is busy are answered together; nothing waits for a batch to fill."""

    max_batch: int = Field(8, ge=1, le=1024)
    """Most images that the network takes at once."""
    max_queue: int = Field(64, ge=1)
    """Images that may wait in a replica; further ones get a 503 at once."""


class RolloutConfig(Block):
    """How a new version comes into service."""

    poll_s: float = Field(5, gt=0)
    """How often the registry is asked whether an alias has moved."""
    max_failures: int = Field(3, ge=1)
    """Requests that a new version may fail to answer (another version answers them) before the old one is back."""
    watch_s: float = Field(60, ge=0)
    """How long the old version is kept at hand for that."""


class ServeConfig(Block):
    """An inference application: the whole of serve.yaml."""

    command: ClassVar[str] = "scenerec serve deploy"
    """The command that takes a file of this kind."""

    kind: Literal["serve"]
    """What the file describes."""
    name: Name
    """Name of the application."""
    registry: Location = "s3://scenes/models"
    """Where the registry of models is."""
    models: tuple[ServedModelConfig, ...] = Field(min_length=1)
    """What is served. Models of one application share its replicas; what shall scale by itself goes into another."""
    http: HttpConfig = HttpConfig()
    """The endpoint."""
    scale: ServeScaleConfig = ServeScaleConfig()
    """On how many machines."""
    batching: BatchingConfig = BatchingConfig()
    """How requests share a pass of the network."""
    rollout: RolloutConfig = RolloutConfig()
    """How new versions come into service."""

    @model_validator(mode="after")
    def _unique_names(self) -> "ServeConfig":
        names = [model.name for model in self.models]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"models: {twice} stands twice; a second version of it is its `canary`")
        return self
