"""Pictures that show where a bundle sees a class: what `scenerec predict --explain` writes."""

import io
import re
from itertools import chain, count
from pathlib import Path

from PIL import Image

from scenerec.commands.results import local_folder, write_result
from scenerec.inference.bundles.bundle import Bundle
from scenerec.inference.explain.cam import ActivationMapper
from scenerec.inference.explain.overlay import blend
from scenerec.inference.predictors.classifier import Classifier


class HeatMaps:
    """Writes a heat map for each photograph, as PNG.

    Args:
        bundle: an ONNX bundle.
        classifier: the classifier that runs the same bundle.
        folder: where the files go; it is made where it is missing.

    Raises:
        NoHeatMapError: the architecture has none.
        BundleError: onnxruntime does not load the model.
        StorageError: nothing can be written there.
    """

    def __init__(self, bundle: Bundle, classifier: Classifier, folder: Path) -> None:
        self.classifier = classifier
        self.folder = local_folder("--explain", folder)
        self._mapper = ActivationMapper(bundle)
        self._taken: set[str] = set()
        self.folder.mkdir(parents=True, exist_ok=True)

    def write(self, image: str, content: bytes, label: str, tells_label: bool = False) -> Path:
        """Writes the photograph as the network sees it, under the heat map of a label; returns the file.

        The file is called as the image, with `tells_label` as image and label, and numbered where several have the same
        name. Raises PictureError.
        """
        prepared = self.classifier.prepare(content)
        heat = self._mapper.heat_map(prepared, self.classifier.labels.index(label))
        stem = Path(image.partition("?")[0]).stem or "image"
        if tells_label:
            stem += "-" + re.sub("[^A-Za-z0-9_-]", "_", label)
        names = chain([stem], (f"{stem}-{number}" for number in count(2)))
        name = next(name for name in names if name not in self._taken)
        self._taken.add(name)
        file = self.folder / f"{name}.png"
        picture = io.BytesIO()
        Image.fromarray(blend(prepared, heat)).save(picture, "PNG")
        write_result(file, picture.getvalue())
        return file
