"""A training that is chosen for a folder of images or a packed set: what `train` and `init` have in common."""

import shlex
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from cluster.client import ClusterClient
from cluster.environment import users_store_variable
from cluster.state import cluster_home
from scenerec import __version__
from scenerec.commands import options
from scenerec.commands.data.pack import parsed_splits
from scenerec.commands.results import write_result
from scenerec.commands.screen.progress_bar import ProgressBar
from scenerec.commands.wishes import Wishes
from scenerec.config.file import parse_as
from scenerec.config.train import TrainConfig
from scenerec.data.manifest import MANIFEST_KEY
from scenerec.data.packing.choices import Choices
from scenerec.data.packing.pack import PackRequest
from scenerec.data.pool import default_processes, process_runner
from scenerec.errors import ConfigError, StorageError
from scenerec.storage import open_storage
from scenerec.training.choice.candidates import ARCH, CANDIDATE_ARCHITECTURES, SIZE, WEIGHTS, Weights
from scenerec.training.choice.choose import Choice, choose
from scenerec.training.choice.costs import YARDSTICK, speed_of
from scenerec.training.choice.facts import Machine, machine_of
from scenerec.training.choice.image_folder import ImageFolder
from scenerec.training.choice.packed_data import PackedData, is_packed
from scenerec.training.choice.weights_at_hand import weights_at_hand
from scenerec.training.choice.yaml_text import train_yaml
from scenerec.training.plan import NodeResources

_SHRUNK_BYTES = 60_000  # an image of a short side of 256 px, at most
_RUN_BYTES = 10**9


class ChosenTraining:
    """The data as it was understood, what was chosen for it, and the file that says so."""

    def __init__(self, wishes: Wishes, command: str) -> None:
        """Checks what was typed and reads the data. Raises ConfigError, DataError, StorageError."""
        self.wishes, self.command = wishes, command
        self.stated = wishes.stated()
        self.name = wishes.run_name()
        self.output = options.location("--output", wishes.output)
        self.data = self._open()

    @property
    def run_url(self) -> str:
        """The folder of the run."""
        return f"{self.output}/runs/{self.name}"

    @property
    def file(self) -> Path:
        """Where `train` writes what it runs."""
        return Path(f"{self.name}.yaml")

    @property
    def table(self) -> Path:
        """Where the division of a folder without validation images is written."""
        return Path(f"{self.wishes.folder_name}-division.csv")

    def choose(self, client: ClusterClient | None, file: Path) -> None:
        """Decides, for the cluster's nodes or, where none is up, for this machine; `text` is then that of `file`.

        Raises PlanError, StorageError.
        """
        archs = [self.stated[ARCH]] if ARCH in self.stated else CANDIDATE_ARCHITECTURES
        weights = Weights() if WEIGHTS in self.stated else weights_at_hand(f"{self.output}/runs", archs)
        self.machine = _machine(client)
        self.choice: Choice = choose(self.data.facts, self.machine, self.wishes.minutes, weights, self.stated)
        self.request: PackRequest | None = None
        if isinstance(self.data, ImageFolder):
            self.request = self.data.request(self._sets, self.choice.settings[SIZE])
        self.text = train_yaml(tuple(self._heading(file)), self._fixed(), self.choice, self.stated)
        self.config = parse_as(TrainConfig, self.text, str(file))

    def has_changed_since(self, config: TrainConfig) -> bool:
        """Whether the folder holds other images than those that a run has learned from."""
        if isinstance(self.data, PackedData):
            return self.data.train != config.data.train
        destination = self.data.request(self._sets, config.data.image_size).destination
        return f"{destination}/train" != config.data.train

    @property
    def _sets(self) -> str:
        """What the addresses of packed folders of this name begin with."""
        return f"{self.output}/sets/{self.wishes.folder_name}"

    def write_division(self) -> None:
        """Writes the table of the division, where there is one, for `data pack` to read."""
        if isinstance(self.data, ImageFolder) and self.data.division:
            write_kept(self.table, self.data.division_text())

    def check_room(self, client: ClusterClient) -> None:
        """Raises StorageError where the disk is too full for the packed images and the run, as far as it is known."""
        if self.request is None or not isinstance(self.data, ImageFolder):
            return
        if "://" not in self.output:
            place = existing_parent(Path(self.output))
        elif client.address.embedded and not users_store_variable():
            place = existing_parent(cluster_home())
        else:
            return
        images = self.data.facts.images + self.data.facts.val_images
        most_bytes = images * _SHRUNK_BYTES if self.request.options.short_side else self.data.size_bytes
        needed_bytes = min(most_bytes, self.data.size_bytes) + _RUN_BYTES
        free_bytes = shutil.disk_usage(place).free
        is_there = open_storage(f"{self.request.destination}/train").size(MANIFEST_KEY) is not None
        if free_bytes < needed_bytes and not is_there:
            raise StorageError(
                f"{place}: has {free_bytes / 1e9:.1f} GB free, and the packed images and the run need about "
                f"{needed_bytes / 1e9:.1f} GB: free some, or name another place by --output"
            )

    @property
    def pack_command(self) -> str:
        """The command that packs what the file names; empty where it is packed."""
        if self.request is None:
            return ""
        request = self.request
        words = ["scenerec", "data", "pack", self.wishes.data, request.destination]
        words += ["--division", str(request.division)] if request.division else []
        words += ["--short-side", str(request.options.short_side)] if request.options.short_side else []
        words += ["--splits", self.wishes.splits] if self.wishes.splits else []
        words += ["--nested", self.wishes.nested] if self.wishes.nested else []
        return shlex.join(words)

    def _open(self) -> ImageFolder | PackedData:
        where = options.location("FOLDER", self.wishes.data)
        choices = Choices(splits=parsed_splits(self.wishes.splits), nested=self.wishes.nested)
        if "://" in where or (Path(where).is_dir() and is_packed(where)):
            if choices != Choices():
                raise ConfigError(
                    f"{where}: is packed, its splits and classes are known: leave --splits and --nested out"
                )
            return PackedData(where)
        run = process_runner(self.wishes.processes or default_processes())
        with ProgressBar("looking for images that look alike", "looking") as progress:
            return ImageFolder(options.local_path("FOLDER", Path(where)), choices, self.table, run, progress.show)

    def _fixed(self) -> dict[str, Any]:
        if isinstance(self.data, PackedData):
            train, val = self.data.train, self.data.val
        else:
            assert self.request is not None
            train, val = (f"{self.request.destination}/{split}" for split in ("train", "val"))
        return {
            "name": self.name,
            "framework": self.stated.get("framework", "torch"),
            "data.train": train,
            "data.val": val,
            "output": f"{self.output}/runs",
        }

    def _heading(self, file: Path) -> Iterator[str]:
        facts = self.data.facts
        yield f"Written by scenerec {__version__}: " + shlex.join(
            ["scenerec", self.command, self.wishes.data, *self.wishes.words]
        )
        images = f"{facts.images:,} images of {len(facts.class_counts)} classes, {facts.val_images:,} to validate on"
        yield f"For {images}; {self.machine.words}; about {minutes_of(self.choice.estimated_s)}."
        yield "It is yours: change what you like. Each reason stands above its value."
        yield ""
        if command := self.pack_command:
            yield f"Pack the images:  {command}"
        yield f"Train:            {shlex.join(['scenerec', 'submit', str(file)])}"


def _machine(client: ClusterClient | None) -> Machine:
    """The machine that trains; of this one, also how fast a core is."""
    nodes = [NodeResources(node.cpus, node.gpus) for node in client.nodes()] if client else []
    if client and not client.address.embedded:
        return machine_of(nodes)
    from scenerec.training.choice.torch_speed import core_seconds  # torch takes seconds to load

    memory_bytes = psutil.virtual_memory().available
    machine = machine_of(nodes or [NodeResources(default_processes())], memory_bytes)
    return (
        machine
        if machine.gpus
        else machine_of(nodes or [NodeResources(default_processes())], memory_bytes, speed_of(core_seconds(*YARDSTICK)))
    )


def existing_parent(folder: Path) -> Path:
    """The folder, or the first around it that is there."""
    return next(each for each in (folder, *folder.absolute().parents) if each.exists())


def minutes_of(seconds: float) -> str:
    """A duration for people: `8 minutes`."""
    minutes = max(round(seconds / 60), 1)
    return f"{minutes} minute{'s' if minutes > 1 else ''}"


def write_kept(path: Path, text: str) -> str | None:
    """Writes a file; another one that is there is kept under the name with a ~ at its end, which is returned."""
    kept = None
    with suppress(FileNotFoundError):
        before = path.read_bytes()
        if before == text.encode():
            return None
        kept = f"{path}~"
        Path(kept).write_bytes(before)
    write_result(path, text)
    return kept
