"""What was seen on the nodes of a cluster, and what was asked of it: values that travel from the job to the client."""

from pydantic import Field

from scenerec.frozen import Frozen


class DoctorRequest(Frozen):
    """What shall be looked at beside the nodes themselves."""

    store: str | None = None
    """Folder in a store, s3://BUCKET/..., where each node writes, reads and removes an object; None: nowhere."""
    all_reduce: bool = False
    """Whether the nodes add up numbers together, as trainings do."""


class Gpu(Frozen):
    """A GPU, as its driver describes it."""

    name: str
    """Its model."""
    memory_mb: int
    """Its memory, in MiB."""
    driver: str
    """Version of the driver."""


class OpenPort(Frozen):
    """A port on which a process listens that others can reach."""

    program: str
    """Name of the process."""
    address: str
    """Address that it listens on; 0.0.0.0 and :: are all interfaces."""
    port: int
    """The port's number."""


class StoreReport(Frozen):
    """How a node reaches the store."""

    latency_s: float = 0.0
    """Seconds for a read of one byte: the median of several."""
    write_bytes_per_s: float = 0.0
    """Of one object."""
    read_bytes_per_s: float = 0.0
    """Of the same."""
    error: str | None = None
    """What was met instead, in one line."""


class NodeReport(Frozen):
    """What was seen on one node."""

    address: str
    """Ray's address of the node."""
    name: str
    """The node's own name."""
    name_address: str | None = None
    """What the node's own name leads to; None where that is nowhere."""
    interface: str | None = None
    """The network interface that has Ray's address; None where none has it."""
    versions: dict[str, str] = Field(default_factory=dict)
    """Versions by package, and of `python`; what is not installed is missing."""
    gpus: tuple[Gpu, ...] = ()
    """All GPUs of the machine, by nvidia-smi."""
    ray_gpus: float = 0
    """GPUs that Ray offers."""
    clock_offset_s: float = 0.0
    """The node's clock less that of the job's process."""
    clock_error_s: float = 0.0
    """How wrong that may be, for the answer's way."""
    store_offset_s: float | None = None
    """The node's clock less that of the store, by the `Date` of an answer; None where it was not asked or has none."""
    disk_free_bytes: int = 0
    """Free space where Ray keeps its sessions."""
    disk_path: str = ""
    """Where that is."""
    shm_free_bytes: int = 0
    """Free space in /dev/shm, where Ray's object store lies, without what that has taken."""
    object_store_bytes: int = 0
    """Size of Ray's object store."""
    open_files: int = 0
    """How many files and connections a process may have open (the soft limit)."""
    niceness: int = 0
    """Priority of Ray's workers: 0 as other programs, above it lower."""
    serve_variables_missing: tuple[str, ...] = ()
    """Variables of `scenerec cluster serve-env` that the node's Ray was not started with."""
    token: bool = False
    """Whether Ray asks for a token."""
    tls: bool = False
    """Whether Ray's processes speak TLS with each other."""
    open_ports: tuple[OpenPort, ...] = ()
    """What can be reached from outside, of processes that Ray's user may see."""
    store: StoreReport | None = None
    """How the node reaches the store; None where no store was named."""


class ClusterReport(Frozen):
    """What was seen on all nodes."""

    nodes: tuple[NodeReport, ...]
    """The nodes that answered."""
    silent: tuple[str, ...] = ()
    """Addresses of nodes that are alive to Ray, and did not answer."""
    lost: tuple[str, ...] = ()
    """Addresses of nodes that are gone though nobody has ended them, and that did not come back."""
    all_reduce_bytes_per_s: float | None = None
    """Bytes of gradients that the nodes add up in a second, one worker each; None where it was not asked for."""
    all_reduce_nodes: int = 0
    """How many nodes did: all on which trainings run."""
    all_reduce_backend: str = ""
    """Which of torch's ways that was: gloo or nccl."""
    all_reduce_error: str | None = None
    """What was met instead, in one line."""
