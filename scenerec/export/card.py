"""The card of a model: what people should know who use it, in Markdown.

Mitchell et al.: Model Cards for Model Reporting (FAT* 2019) say what belongs on one. A card is made of bundle.json and
of sizes alone: the same export gives the same card.
"""

from collections.abc import Iterable, Sequence

import yaml

from scenerec.inference.bundles.info import BundleInfo, Lineage
from scenerec.inference.bundles.validation import ClassCounts, LabelValidation, MultilabelValidation, Validation
from scenerec.inference.evaluation.significance import wilson_interval
from scenerec.models.weights.licences import LICENCES, describe_licence, forbids_commercial_use
from scenerec.models.weights.origin import RANDOM, is_address
from scenerec.models.zoo import find_architecture

Cells = Sequence[str]

_FEW_IMAGES = 50  # of a class in training
_SHOWN_CLASSES = 10
_MEANINGS = (
    "Found: the share of the class's images that rank it first. Precision: of the images that rank it first, the share "
    "that are of the class."
)


def model_card(info: BundleInfo, size_bytes: int, usage: str = "") -> str:
    """Writes the card of a bundle whose model's files have `size_bytes`.

    `usage` says how the model is used where it is handed on otherwise than as a bundle: to others, who are told neither
    addresses nor the config.
    """
    if usage:
        info = _without_addresses(info)
    sections = {
        "Intended use": info.card.intended_use or "Its maker has not said what it is for.",
        "Limitations": _limitations(info),
        "Licence": _licence(info),
        "Results": _results(info),
        **({} if info.task == "embedding" else {"Classes": _classes(info)}),
        "Where it comes from": _lineage(info),
        "Size and speed": _size_and_speed(info, size_bytes),
        "How to use it": usage or _usage(info),
    }
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items())
    return f"# {info.name}\n\n{_summary(info)}\n\n{body}\n"


def _without_addresses(info: BundleInfo) -> BundleInfo:
    """Of what lies at an address, its name alone; and no config, which has addresses as well."""
    lineage, found, labelled = info.lineage, info.validation, info.multilabel_validation
    changes = {
        "config": {},
        "source": _name(lineage.source),
        "first_weights": _without_address(lineage.first_weights),
        "teachers": {_without_address(name): licence for name, licence in lineage.teachers.items()},
    }
    return info.model_copy(
        update={
            "lineage": lineage.model_copy(update=changes),
            "validation": found.model_copy(update={"data": _name(found.data)}) if found else None,
            "multilabel_validation": labelled.model_copy(update={"data": _name(labelled.data)}) if labelled else None,
        }
    )


def _without_address(weights: str) -> str:
    """What weights are called, `NAME of ARCH` or the last part of an address."""
    return _name(weights) if is_address(weights) else weights


def _name(address: str) -> str:
    return address.rstrip("/").rpartition("/")[2]


def _summary(info: BundleInfo) -> str:
    network = info.lineage.arch or "a network of its own making"
    trained = f", trained in {info.lineage.framework}" if info.lineage.framework else ""
    kind = {"onnx": "ONNX", "tflite": "TFLite"}[info.format]
    what = {
        "classification": f"Names the scene on a photograph, one of {len(info.labels)} classes.",
        "multilabel": f"Gives a photograph any of {len(info.labels)} labels, several or none.",
        "embedding": f"Turns a photograph into {info.embedding_size} numbers, which are alike where photographs are.",
    }[info.task]
    return (
        f"{what} It is {network}{trained}, exported to {kind} in {info.precision} by scenerec {info.lineage.scenerec}."
    )


def _limitations(info: BundleInfo) -> str:
    facts = _limits(info)
    few = [label for label, count in zip(info.labels, info.lineage.class_samples, strict=False) if count < _FEW_IMAGES]
    if few:
        shown = ", ".join(few[:_SHOWN_CLASSES]) + (", ..." if len(few) > _SHOWN_CLASSES else "")
        facts.append(f"Classes with fewer than {_FEW_IMAGES} training images ({len(few)}): {shown}.")
    return "\n".join(
        [*([info.card.limitations, ""] if info.card.limitations else []), *(f"- {each}" for each in facts)]
    )


def _limits(info: BundleInfo) -> list[str]:
    if info.task == "embedding":
        return [
            "It names nothing: how alike photographs are is told by the cosine between their features, whose lengths "
            "differ.",
            "Features are to be compared with those of this very model alone: another training has other axes.",
        ]
    return [
        f"It knows its {len(info.labels)} labels alone, and asks of each by itself: probabilities do not add up to 1."
        if info.task == "multilabel"
        else f"It knows its {len(info.labels)} classes alone: whatever is on a photograph, one of them ranks first.",
        "Its probabilities and its figures hold for photographs like those of its validation set."
        if info.validation or info.multilabel_validation
        else "It was not measured when it was exported: nothing is known of how far its probabilities can be trusted.",
    ]


def _licence(info: BundleInfo) -> str:
    lineage, lines = info.lineage, []
    if info.card.licence:
        lines.append(f"{describe_licence(info.card.licence)}, by its maker's word.")
    if lineage.first_weights == RANDOM:
        lines.append("Its training began with random weights: no other licence goes along.")
    elif not lineage.first_weights:
        lines.append("What its training began with is not known.")
    elif not lineage.licence:
        lines.append(f"Its training began with `{lineage.first_weights}`, whose licence is not known.")
    else:
        lines.append(f"Its training began with {lineage.first_weights}. Their licence: {_terms(lineage.licence)}")
    for name, licence in sorted(lineage.teachers.items()):
        lines.append(f"It learned from a network that began with {name}. Their licence: {_terms(licence)}")
    if forbids_commercial_use(lineage.licence):
        lines.insert(0, "**Not for commercial use**, by the licence of the weights that its training began with.")
    elif any(map(forbids_commercial_use, info.licences)):
        lines.insert(0, "**Not for commercial use**, by the licence of weights that it learned from.")
    return "\n\n".join(lines)


def _terms(licence: str) -> str:
    known = LICENCES.get(licence)
    return f"[{licence}]({known.url}). {known.note}" if known else licence or "not known."


def _results(info: BundleInfo) -> str:
    parts = []
    if info.metrics:
        named = ", ".join(f"{name} {value:.4f}" for name, value in info.metrics.items())
        parts.append(f"The training's own validation: {named}.")
    if info.validation:
        parts += [_measured(info.validation), _abstention(info.validation)]
    elif info.multilabel_validation:
        parts.append(_measured_labels(info.multilabel_validation))
    else:
        parts.append("The exported model was not measured on a validation set.")
    if info.verification:
        parts.append(f"Compared with the network in its framework: {info.verification}.")
    return "\n\n".join(parts)


def _measured(found: Validation) -> str:
    low, high = wilson_interval(found.correct, found.samples)
    rows = [
        ("top-1", f"{found.top1:.2%}", f"{low:.2%} to {high:.2%} (95 % interval)"),
        ("top-5", f"{found.top5:.2%}", ""),
        ("loss", f"{found.scaled.loss:.4f}", f"{found.unscaled.loss:.4f} without temperature"),
        (
            "calibration error",
            f"{found.scaled.calibration_error:.2%}",
            f"{found.unscaled.calibration_error:.2%} without temperature",
        ),
        ("temperature", f"{found.scaled.temperature:.4f}", "what the logits are divided by"),
    ]
    fitted = ", on which the temperature was fitted" if found.scaled != found.unscaled else ""
    return (
        f"The exported model itself on {found.samples} images of `{found.data}` (fingerprint `{found.fingerprint}`)"
        f"{fitted}:\n\n{_table(('', '', ''), rows)}"
    )


def _measured_labels(found: MultilabelValidation) -> str:
    rows = [
        ("mAP", "-" if found.map is None else f"{found.map:.2%}", "mean of the labels' average precisions"),
        ("F1 micro", f"{found.f1_micro:.2%}", "over all decisions, at the labels' thresholds"),
        ("F1 macro", f"{found.f1_macro:.2%}", "each label counts the same"),
        ("loss", f"{found.loss:.4f}", "mean binary cross-entropy"),
    ]
    return (
        f"The exported model itself on {found.samples} images of `{found.data}` (fingerprint `{found.fingerprint}`), "
        f"on which the thresholds were chosen:\n\n{_table(('', '', ''), rows)}"
    )


def _abstention(found: Validation) -> str:
    rule = found.abstention
    if rule is None:
        return "It answers every photograph, however unsure it is."
    if rule.threshold == 0:
        return f"At least {rule.wished_precision:.1%} of its answers were wished to be right: it need not abstain."
    return (
        f"It abstains where its first class has a probability below {rule.threshold:.4f}, so that at least "
        f"{rule.wished_precision:.1%} of its answers are right: it answers {rule.coverage:.1%} of these images, "
        f"{rule.precision:.1%} of them rightly. On other images like these the promise holds with 95 % probability."
    )


def _classes(info: BundleInfo) -> str:
    headings, columns = ["Class"], [[_cell(label) for label in info.labels]]
    if info.lineage.class_samples:
        headings.append("Training images")
        columns.append([str(count) for count in info.lineage.class_samples])
    if info.validation:
        headings += ["Validation images", "Found", "95 % interval", "Precision"]
        columns += [list(column) for column in zip(*map(_figures, info.validation.classes), strict=True)]
    if labelled := info.multilabel_validation:
        headings += ["Validation images", "AP", "Threshold", "Precision", "Recall", "F1"]
        columns += [list(column) for column in zip(*map(_label_figures, labelled.labels), strict=True)]
    table = _table(headings, zip(*columns, strict=True))
    return f"{_MEANINGS}\n\n{table}" if info.validation else table


def _figures(counts: ClassCounts) -> Cells:
    precision = f"{counts.correct / counts.predicted:.1%}" if counts.predicted else "-"
    if not counts.samples:
        return "0", "-", "-", precision
    low, high = wilson_interval(counts.correct, counts.samples)
    return str(counts.samples), f"{counts.correct / counts.samples:.1%}", f"{low:.1%} to {high:.1%}", precision


def _label_figures(found: LabelValidation) -> Cells:
    shares = (found.average_precision, found.threshold, found.precision, found.recall, found.f1)
    return str(found.samples), *("-" if share is None else f"{share:.1%}" for share in shares)


def _lineage(info: BundleInfo) -> str:
    lineage = info.lineage
    route = {
        "torch": "torch's exporter",
        "tf2onnx": "tf2onnx",
        "twin": "torch's exporter, through the torch twin",
        "tflite": "TensorFlow's converter",
    }[lineage.route]
    rows = [
        ("exported", f"from `{lineage.source}`, by {route}"),
        ("framework", lineage.framework or "not known"),
        ("architecture", lineage.arch or "not of the zoo"),
        ("first weights", _first_weights(lineage)),
        (
            "training set",
            f"fingerprint `{lineage.dataset_fingerprint}`" if lineage.dataset_fingerprint else "not known",
        ),
        (
            "versions",
            ", ".join(f"{name} {each}" for name, each in {"scenerec": lineage.scenerec, **lineage.versions}.items()),
        ),
    ]
    if not lineage.config:
        return _table(("", ""), rows)
    config = yaml.safe_dump(lineage.config, sort_keys=False, allow_unicode=True, width=120).strip()
    folded = f"<details><summary>Config of the training</summary>\n\n```yaml\n{config}\n```\n\n</details>"
    return f"{_table(('', ''), rows)}\n\n{folded}"


def _first_weights(lineage: Lineage) -> str:
    if lineage.published_top1 is None:
        return lineage.first_weights or "not known"
    reached = f"top-1 {lineage.published_top1:.2f} % at {lineage.published_image_size} px"
    return f"{lineage.first_weights} ({reached}, by their makers)"


def _size_and_speed(info: BundleInfo, size_bytes: int) -> str:
    size, network = info.preprocessing.image_size, find_architecture(info.lineage.arch or "")
    rows = [
        ("model", f"{size_bytes / 1e6:.1f} MB, {info.precision}"),
        ("images", f"{size} x {size} pixels; {info.preprocessing.words}"),
    ]
    if network:
        rows.append(("parameters", f"{network.parameters / 1e6:.1f} M at 1000 classes"))
    for speed in info.quantization.get("taken", {}).get("speed", ()):
        rows.append(
            (
                f"batch {speed['batch_size']}, one thread of {info.quantization['processor']}",
                f"{speed['ms']:.2f} ms ({speed['ratio']:.2f} times as fast as fp32)",
            )
        )
    return f"{_table(('', ''), rows)}\n\n`scenerec bench BUNDLE` measures it on a machine."


def _usage(info: BundleInfo) -> str:
    photograph = '[Path("holiday.jpg").read_bytes()]'
    asked = f"embeddings({photograph})" if info.task == "embedding" else f"classify({photograph}, top_k=3)"
    how = (
        "```sh\nscenerec predict holiday.jpg --model BUNDLE\n```\n\n```python\nfrom pathlib import Path\n"
        "from scenerec.inference.bundles.bundle import open_bundle\n"
        "from scenerec.inference.predictors.classifier import Classifier\n\n"
        'classifier = Classifier(open_bundle("BUNDLE"))\n'
        f"print(classifier.{asked})\n```"
    )
    shape = " x ".join(map(str, info.inputs[0].shape))
    given = ", ".join(f"`{output.name}`" for output in info.outputs)
    ratio = info.preprocessing.eval_crop_ratio
    filtered = f"resized to {round(info.preprocessing.image_size / ratio)} pixels ({info.preprocessing.interpolation})"
    prepared = f"the short side {filtered}, then the centre"
    note = f" Probabilities are the softmax of the logits over {info.temperature:.4f}."
    if info.task == "multilabel":
        note = " Probabilities are the logistic function of the logits, each by itself."
    note = "" if info.format == "onnx" else note
    return (
        f"{how}\n\nIn another runtime: `{info.inputs[0].name}` ({info.inputs[0].dtype}, {shape}; {prepared}) goes in, "
        f"{given} come out.{note}"
    )


def _table(headings: Cells, rows: Iterable[Cells]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (headings, ["---"] * len(headings), *rows))


def _cell(text: str) -> str:
    """Text that ends no cell of a table."""
    return " ".join(text.replace("|", "\\|").split())
