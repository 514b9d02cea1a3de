"""One export at work: what is asked for, and what comes of it. Every export format turns the first into the second."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scenerec.data.packed_set import PackedSet, open_set
from scenerec.errors import ConfigError
from scenerec.export.options import Options
from scenerec.export.source import Source
from scenerec.export.steps import Say, step
from scenerec.inference.bundles.bundle import Golden
from scenerec.inference.bundles.info import BundleInfo, Verification

if TYPE_CHECKING:
    from onnx import ModelProto


@dataclass(frozen=True)
class ExportJob:
    """A network that is to become a bundle."""

    source: Source
    """Network, and what its bundle will say of it."""
    destination: str
    """Folder or s3:// prefix of the bundle, for messages: nothing is written there before all gates are passed."""
    options: Options
    """How to export."""
    folder: Path
    """Empty folder of this machine for the model's files."""
    say: Say
    """Hears of the steps, and of what was tried."""

    def step(self, name: str) -> AbstractContextManager[None]:
        """Tells of a step while the context holds."""
        return step(name, self.say)

    def training_set(self) -> PackedSet:
        """Opens the set to calibrate on. Raises ConfigError where none is known, DataError, StorageError."""
        where = self.options.calibration_data or self.source.training_set
        return self._open(where, "calibrate on", "--calibration-data")

    def validation_set(self) -> PackedSet:
        """Opens the set to measure the accuracy on. Raises ConfigError where none is known, DataError, StorageError."""
        return self._open(self.options.data or self.source.validation_set, "measure the accuracy on", "--data")

    def _open(self, where: str | None, purpose: str, option: str) -> PackedSet:
        if where is None:
            raise ConfigError(f"{self.source.address}: no images to {purpose}: name a packed set with {option}")
        return open_set(where)


@dataclass(frozen=True)
class Product:
    """A model that has passed its gates."""

    info: BundleInfo
    """Content of bundle.json, but for the checksums of the files."""
    files: list[Path]
    """Files of the model; their names are those in the bundle."""
    golden: Golden
    """Images of the verification, and the model's answers to them."""
    model: "ModelProto | None" = None
    """Graph of the model; None where it is no ONNX model."""
    float_model: "ModelProto | None" = None
    """The same in float32, whatever the model computes in."""

    @property
    def size_bytes(self) -> int:
        """Bytes of the model's files."""
        return sum(file.stat().st_size for file in self.files)

    @property
    def verification(self) -> Verification:
        """What the comparison with the network gave."""
        assert self.info.verification is not None
        return self.info.verification
