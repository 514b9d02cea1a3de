"""The story of a probe: features are computed where they are missing, heads are fitted, and the best one is kept."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import groupby

from scenerec.checkpoint import BEST_FILE, Checkpoint, LearnerState, RunState, save_checkpoint
from scenerec.config.probe import ProbeConfig
from scenerec.data.packed_set import PackedSet
from scenerec.epoch_metrics import EpochMetrics
from scenerec.job_log import Event, Note
from scenerec.json_object import JsonObject
from scenerec.training.probing.backbone import Backbone, read_backbone, with_head
from scenerec.training.probing.features import (
    FeatureFolder,
    FeatureMaker,
    FeatureTask,
    Split,
    missing_tasks,
    open_sets,
)
from scenerec.training.probing.judgement import Judged, Judgement, judge, ranked
from scenerec.training.probing.report import render
from scenerec.training.run_folder import REPORT_FILE, RunFolder
from scenerec.training.task import CLASSIFICATION, TOP1, TOP5, VAL_LOSS

Compute = Callable[[Iterable[FeatureTask]], Iterator[int]]
"""Computes and writes the features of tasks, in any order; yields how many images each had."""

OnProgress = Callable[[int, int], None]
"""Is told how many images are done, and how many there are; first of those that were done before."""

Sets = dict[Split, PackedSet]

_INSTANT_S = 1e-9


def compute_here(tasks: Iterable[FeatureTask]) -> Iterator[int]:
    """Computes in this process, one backbone after another."""
    for (config, backbone), same in groupby(tasks, key=lambda task: (task.config, task.backbone)):
        maker = FeatureMaker(ProbeConfig.model_validate_json(config), backbone)
        for task in same:
            yield maker.make(task.split, task.shard)


def probe(
    config: ProbeConfig,
    compute: Compute = compute_here,
    say: Callable[[Event], None] = lambda event: None,
    on_progress: OnProgress = lambda done, total: None,
) -> JsonObject:
    """Tries all backbones, and returns the content of result.json.

    What was killed goes on by the same call: the features that are in the store are not computed again.

    Raises:
        DataError: an image does not decode, or features in the store are damaged.
        ModelError: weights are not where `check_probe` saw them, or give no numbers.
        StorageError: the store does not answer.
    """
    folder, patience = RunFolder(config.run_url, config.data.patience), config.data.patience
    folder.write_config(config)
    sets = open_sets(config, patience)
    backbones = [read_backbone(config, number, patience)[0] for number in range(len(config.backbones))]
    stores = [FeatureFolder(config, backbone, patience) for backbone in backbones]
    began_s = time.monotonic()
    images = _compute_missing(config, stores, sets, compute, on_progress)
    computed_s = time.monotonic()
    classes, judged = len(sets["train"].manifest.classes), []
    for number, (backbone, store) in enumerate(zip(backbones, stores, strict=True)):
        found = judge(config, number, backbone, store.read(sets["train"]), store.read(sets["val"]), classes)
        say(Note(_words(found.judgement)))
        judged.append(found)
    best, *others = ranked(judged)
    epoch = _as_epoch(config, best.judgement, images / max(computed_s - began_s, _INSTANT_S))
    checkpoint_url = _keep(config, folder, backbones[best.number], best, sets["train"], epoch)
    result = {
        "run": config.run_url,
        "framework": config.framework,
        "arch": best.judgement.arch,
        "winner": best.judgement.name,
        "comparison": best.against(others[0]) if others else None,
        "backbones": [each.judgement.model_dump(mode="json") for each in (best, *others)],
        "best": epoch.as_dict(),
        "last": epoch.as_dict(),
        "best_checkpoint": checkpoint_url,
        "last_checkpoint": checkpoint_url,
        "computed_images": images,
        "compute_seconds": round(computed_s - began_s, 3),
        "fit_seconds": round(time.monotonic() - computed_s, 3),
        "report": f"{folder.url}/{REPORT_FILE}",
    }
    folder.storage.put(REPORT_FILE, render(config, result, sets).encode())
    folder.write_result(result)
    return result


def _compute_missing(
    config: ProbeConfig, stores: Sequence[FeatureFolder], sets: Sets, compute: Compute, on_progress: OnProgress
) -> int:
    """Computes what no store has yet; returns how many images that were."""
    tasks = [task for number, store in enumerate(stores) for task in missing_tasks(config, number, store, sets)]
    missing = sum(sets[task.split].manifest.shards[task.shard].samples for task in tasks)
    total = len(stores) * sum(data.manifest.samples for data in sets.values())
    done = total - missing
    on_progress(done, total)
    for images in compute(tasks):
        done += images
        on_progress(done, total)
    return missing


def _words(found: Judgement) -> str:
    knn = "" if found.knn_top1 is None else f", k-NN {TOP1.show(found.knn_top1)}"
    return f"{found.name}: linear top-1 {TOP1.show(found.linear_top1)}, top-5 {TOP5.show(found.linear_top5)}{knn}"


def _as_epoch(config: ProbeConfig, best: Judgement, images_per_s: float) -> EpochMetrics:
    """The best head as the one epoch of a training, by which all that reads runs knows it."""
    return EpochMetrics(
        epoch=1,
        global_step=1,
        train_loss=best.train_loss,
        validation={VAL_LOSS.key: best.linear_loss, TOP1.key: best.linear_top1, TOP5.key: best.linear_top5},
        images_per_s=images_per_s,
        lr=0.0,
        workers=config.scale.max_workers,
        framework=config.framework,
        time_s=round(time.time(), 3),
    )


def _keep(
    config: ProbeConfig, folder: RunFolder, backbone: Backbone, best: Judged, train: PackedSet, epoch: EpochMetrics
) -> str:
    """Writes the best backbone with its head as a training with `model.freeze: backbone` would; returns the address."""
    _, state = read_backbone(config, best.number, config.data.patience)
    run = RunState(
        epoch=1,
        step=0,
        global_step=epoch.global_step,
        identity={
            "task": CLASSIFICATION.name,
            "model.arch": backbone.config.arch,
            "classes": len(train.manifest.classes),
            "training set": train.manifest.fingerprint,
        },
        plateau={},
        history=[epoch],
        partial={},
        config=_config_of_winner(config, backbone),
        framework=config.framework,
        labels=train.manifest.classes,
        saved_s=round(time.time(), 3),
        origin=asdict(backbone.origin),
    )
    classifier = with_head(backbone.config.arch, state, best.head.weight, best.head.bias)
    name = save_checkpoint(folder.checkpoints, Checkpoint(run, LearnerState(model=classifier, optimizer={})))
    known = {"checkpoint": name, TOP1.key: best.judgement.linear_top1, "epoch": epoch.epoch}
    folder.checkpoints.put(BEST_FILE, json.dumps(known).encode())
    folder.write_metrics([epoch])
    return f"{folder.checkpoints.url}/{name}"


def _config_of_winner(config: ProbeConfig, backbone: Backbone) -> JsonObject:
    """The probe's config, with what a training's says of its network: who opens the checkpoint reads it there."""
    document = config.model_dump(mode="json")
    network = backbone.config.model_dump(mode="json", exclude={"image_size"})
    return {
        **document,
        "data": {**document["data"], **backbone.preprocessing.model_dump(mode="json", exclude={"in_graph"})},
        "model": {**network, "freeze": "backbone", "geo": None},
    }
