"""A model in the layout of the Hugging Face hub: a folder to upload as it is.

    README.md                   the model card, with the hub's metadata before it
    config.json                 class names and what else is known of the network
    preprocessor_config.json    how photographs are prepared
    model.safetensors           the weights by torchvision's names, of an architecture of the zoo
    onnx/model.onnx             float32: `pixel_values` in, `logits` over the temperature out
    onnx/model_quantized.onnx   the same in int8 (or model_fp16.onnx), where it was exported so

The names are those that transformers.js and optimum look for. `config.json` names no `model_type`: the architectures
are torchvision's, and a class of transformers would load these weights into another network without a word.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import yaml
from onnx import ModelProto
from safetensors.numpy import save_file

from scenerec.errors import BundleError, ConfigError, StorageError, system_reason
from scenerec.export.card import model_card
from scenerec.export.formats.table import ExportFormat
from scenerec.export.graphs import hub_graph, network_graph
from scenerec.export.job import Product
from scenerec.export.options import Options
from scenerec.export.source import Source
from scenerec.export.targets import ANY
from scenerec.inference.bundles.bundle import Golden
from scenerec.inference.bundles.info import BundleInfo
from scenerec.inference.bundles.precision import TOLERANCES
from scenerec.inference.predictors.onnx_predictor import network_input, open_session
from scenerec.inference.predictors.predictor import logits_difference, place_inputs
from scenerec.inference.predictors.trained_model import ZooNetwork
from scenerec.models.geo import COORDINATES, KNOWN
from scenerec.models.weights.licences import forbids_commercial_use
from scenerec.models.weights.origin import is_address
from scenerec.models.zoo import TIMM, architecture

FILES = {"fp16": "model_fp16.onnx", "int8": "model_quantized.onnx", "int8-dynamic": "model_quantized.onnx"}
"""Maps the arithmetic of a model to the name of its file beside model.onnx, which is in float32."""

_FILTERS = {"bilinear": 2, "bicubic": 3}  # by the numbers of PIL, as transformers has them
_HUB_LICENCES = frozenset(
    [
        "apache-2.0",
        "mit",
        "bsd-2-clause",
        "bsd-3-clause",
        "gpl-3.0",
        "agpl-3.0",
        "lgpl-3.0",
        "unlicense",
        "cc0-1.0",
        "cc-by-4.0",
        "cc-by-sa-4.0",
        "cc-by-nc-4.0",
        "cc-by-nc-sa-4.0",
        "cc-by-nd-4.0",
        "cc-by-nc-nd-4.0",
    ]
)
_USAGE = """Answers are the softmax of the logits, which the temperature has gone through. With onnxruntime:

```python
import json

import numpy as np
import onnxruntime
from PIL import Image

prepared = json.load(open("preprocessor_config.json"))
labels = json.load(open("config.json"))["id2label"]
image = Image.open("holiday.jpg").convert("RGB")
side, crop = prepared["size"]["shortest_edge"], prepared["crop_size"]["height"]
scale = side / min(image.size)
image = image.resize([round(scale * length) for length in image.size], prepared["resample"])
left, top = ((length - crop) // 2 for length in image.size)
pixels = np.asarray(image.crop((left, top, left + crop, top + crop)), np.float32) / 255
pixels = (pixels - np.float32(prepared["image_mean"])) / np.float32(prepared["image_std"])
session = onnxruntime.InferenceSession("onnx/model.onnx")
(logits,) = session.run(["logits"], {"pixel_values": pixels.transpose(2, 0, 1)[None]})
print(labels[str(logits.argmax())])
```"""
_USAGE_OF_LABELS = _USAGE.replace(
    "Answers are the softmax of the logits, which the temperature has gone through.",
    "The probability of a label is the logistic function of its logit; config.json has the probabilities from which on "
    "labels are given.",
).replace(
    "print(labels[str(logits.argmax())])",
    "print({labels[str(index)]: 1 / (1 + np.exp(-logit)) for index, logit in enumerate(logits[0])})",
)
_TORCH = """

The weights load into {library}'s network; their logits are to be divided by the temperature:

```python
import {library}
from safetensors.torch import load_file

network = {made}
network.load_state_dict(load_file("model.safetensors"))
```"""


def check_hub_folder(folder: Path, options: Options, export_format: ExportFormat) -> None:
    """Makes sure that the folder can be written, and that the export fits into it.

    Raises ConfigError for a target or a format that the hub's readers have no use for, BundleError where something
    else is in the folder.
    """
    if export_format.name.startswith("tflite") or options.target is not ANY:
        raise ConfigError("--hub-folder: holds ONNX for any machine: leave --target out, and take no TFLite precision")
    ours = {"README.md", "config.json", "preprocessor_config.json", "model.safetensors", ".gitattributes"}
    for path in folder.rglob("*") if folder.is_dir() else ():
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in ours and not name.startswith(("onnx/model", ".git/")):
            raise BundleError(f"--hub-folder {folder}: holds {name}, which is of no export: name another folder")


def write_hub_folder(folder: Path, source: Source, product: Product) -> None:
    """Writes a model that has passed its gates to a folder of this machine.

    Raises BundleError where the graph for the hub does not answer as the model, StorageError.
    """
    info = product.info
    assert product.model is not None and product.float_model is not None
    models = {"model.onnx": product.float_model}
    if info.precision in FILES:
        models[FILES[info.precision]] = product.model
    try:
        (folder / "onnx").mkdir(parents=True, exist_ok=True)
        for name, model in models.items():
            _write_model(folder / "onnx" / name, hub_graph.for_hub(model, info.temperature))
        _check_answers(folder / "onnx" / FILES.get(info.precision, "model.onnx"), info, product.golden)
        if isinstance(source.network, ZooNetwork):
            state = {key: np.ascontiguousarray(array) for key, array in source.network.state.items()}
            known = source.origin and not any(map(is_address, (source.origin.weights, *source.origin.teachers)))
            metadata = source.preprocessing.metadata | (source.origin.metadata if source.origin and known else {})
            weights = folder / "model.safetensors"
            save_file(state, weights, {"format": "pt", "arch": source.network.arch, **metadata})
            weights.chmod(0o644)  # safetensors lets nobody else read it
        documents = {"config.json": hub_config(info), "preprocessor_config.json": preprocessor_config(info)}
        for name, document in documents.items():
            (folder / name).write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        (folder / "README.md").write_text(_readme(info, source, product.size_bytes), encoding="utf-8")
    except OSError as error:
        raise StorageError(f"--hub-folder {folder}: {system_reason(error)}") from None


def hub_config(info: BundleInfo) -> dict[str, Any]:
    """Returns the content of config.json."""
    labels = dict(enumerate(info.labels))
    return {
        "architectures": [info.lineage.arch] if info.lineage.arch else [],
        "num_labels": len(labels),
        "id2label": {str(index): label for index, label in labels.items()},
        "label2id": {label: index for index, label in labels.items()},
        "image_size": info.preprocessing.image_size,
        "num_channels": 3,
        **_label_settings(info),
        "temperature": info.temperature,
        "abstain_below": info.abstain_below,
        "scenerec_version": info.lineage.scenerec,
    }


def _label_settings(info: BundleInfo) -> dict[str, Any]:
    """What readers must know of a multi-label model: that a probability is the logistic function of its logit."""
    if info.task != "multilabel":
        return {}
    return {"problem_type": "multi_label_classification", "label_thresholds": list(info.label_thresholds) or None}


def preprocessor_config(info: BundleInfo) -> dict[str, Any]:
    """Returns the content of preprocessor_config.json: the short side resized, the centre cropped, normalised."""
    prepared = info.preprocessing
    size = prepared.image_size
    return {
        "image_processor_type": "BitImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": round(size / prepared.eval_crop_ratio)},
        "resample": _FILTERS[prepared.interpolation],
        "do_center_crop": True,
        "crop_size": {"height": size, "width": size},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(prepared.mean),
        "image_std": list(prepared.std),
    }


def hub_metadata(info: BundleInfo) -> dict[str, Any]:
    """Returns what stands before the card in README.md, by the hub's names."""
    metadata: dict[str, Any] = {
        **_licence(info),
        "library_name": "onnx",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "scene-recognition", "onnx", *filter(None, (info.lineage.arch,)), "scenerec"],
    }
    if found := info.validation:
        figures = {"accuracy": found.top1, "top5_accuracy": found.top5, "ece": found.scaled.calibration_error}
        data = found.data.rstrip("/").rpartition("/")[2]
        result = {
            "task": {"type": "image-classification"},
            "dataset": {"type": data, "name": data},
            "metrics": [{"type": name, "value": round(value, 6)} for name, value in figures.items()],
        }
        metadata["metrics"] = ["accuracy"]
        metadata["model-index"] = [{"name": info.name, "results": [result]}]
    return metadata


def _licence(info: BundleInfo) -> dict[str, str]:
    """The maker's own word, but where inherited terms forbid commercial use: these bind whatever is made of them."""
    name = next(filter(forbids_commercial_use, info.licences), info.card.licence)
    if name.lower() in _HUB_LICENCES:
        return {"license": name.lower()}
    return {"license": "other", "license_name": name} if name else {"license": "unknown"}


def _readme(info: BundleInfo, source: Source, size_bytes: int) -> str:
    usage = _USAGE if info.task == "classification" else _USAGE_OF_LABELS
    if isinstance(source.network, ZooNetwork) and not source.takes_coordinates:
        usage += _torch_usage(source.network.arch, len(info.labels))
    front = yaml.safe_dump(hub_metadata(info), sort_keys=False, allow_unicode=True)
    return f"---\n{front}---\n\n{model_card(info, size_bytes, usage)}"


def _torch_usage(arch: str, classes: int) -> str:
    if not arch.startswith(TIMM):
        made = f'torchvision.models.get_model("{arch}", num_classes={classes})'
        return _TORCH.format(library="torchvision", made=made)
    options = ", dynamic_img_size=True" if architecture(arch).image_size_step > 1 else ""
    made = f'timm.create_model("{arch.removeprefix(TIMM)}", num_classes={classes}{options})'
    return _TORCH.format(library="timm", made=made)


def _write_model(path: Path, model: ModelProto) -> None:
    """Beyond protobuf's limit the weights go beside it, where transformers.js looks for them."""
    if network_graph.weight_bytes(model) <= network_graph.PROTOBUF_BYTES:
        path.write_bytes(model.SerializeToString(deterministic=True))
        return
    data = path.with_name(f"{path.name}_data")
    data.unlink(missing_ok=True)
    onnx.save(model, path, save_as_external_data=True, location=data.name)


def _check_answers(path: Path, info: BundleInfo, golden: Golden) -> None:
    """The golden images must get the golden logits, over the temperature."""
    plain = info.preprocessing.model_copy(update={"in_graph": False})
    feeds = {hub_graph.HUB_PIXELS: network_input(golden.images, plain)}
    if golden.coordinates is not None:
        feeds |= dict(zip((COORDINATES, KNOWN), place_inputs(golden.coordinates, len(golden.images)), strict=True))
    (logits,) = open_session(path).run(["logits"], feeds)
    difference = logits_difference(golden.logits, np.asarray(logits) * np.float32(info.temperature))
    if difference > TOLERANCES[info.precision].golden:
        raise BundleError(f"{path}: does not answer as the model: logits differ by {difference:.1e} of their scale")
