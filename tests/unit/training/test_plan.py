"""The plan: what a config, its data and a cluster come to, and what is refused."""

from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenerec.config.train import TrainConfig
from scenerec.data.manifest import Manifest, Shard
from scenerec.errors import PlanError
from scenerec.models.preprocessing import IMAGENET
from scenerec.models.weights.origin import RANDOM, Origin
from scenerec.training.plan import NodeResources, Plan, check_taken, resolve


def manifest(samples: int = 1000, classes: tuple[str, ...] = ("beach", "forest")) -> Manifest:
    counts = {index: samples // len(classes) for index in range(len(classes))}
    counts[0] += samples - sum(counts.values())
    shard = Shard(key="000000.tar", size_bytes=10, sha256=f"{samples:064x}", samples=samples, class_counts=counts)
    return Manifest(classes=classes, shards=(shard,))


def config(**blocks: Any) -> TrainConfig:
    document: dict[str, Any] = {
        "kind": "train",
        "name": "test",
        "framework": "torch",
        "data": {"train": "/train", "val": "/val"},
        "model": {"arch": "resnet50"},
        "optimize": {"epochs": 3, "global_batch_size": 64, "lr": 0.1},
        "output": "/runs",
    }
    for name, value in blocks.items():
        document[name] = {**document.get(name, {}), **value} if isinstance(value, dict) else value
    return TrainConfig.model_validate(document)


def plan(nodes: list[NodeResources] | None = None, resumed_lanes: int | None = None, **blocks: Any) -> Plan:
    return resolve(config(**blocks), manifest(), manifest(100), nodes, resumed_lanes)


def test_it_says_what_will_happen() -> None:
    found = plan(scale={"workers": 8, "cpus_per_worker": 4})
    assert (found.batch_per_worker, found.steps_per_epoch, found.total_steps, found.dropped_per_epoch) == (
        8,
        15,
        45,
        40,
    )
    assert (found.workers, found.lanes, found.decode_processes) == ((8,), 24, 3)
    assert found.rows() == [
        ("run", "/runs/test"),
        ("model", "resnet50, 2 classes, in torch"),
        ("weights", "none"),
        ("data", "1,000 training samples, 100 for validation, 24 lanes"),
        ("workers", "8, each 4 CPU, 3 decoding"),
        ("batch", "64 = 8 on each of 8 worker(s)"),
        ("steps", "15 an epoch, 45 in all (40 samples fill no batch and wait for another epoch)"),
        ("BatchNorm", "statistics from 512 training images, at each validation and checkpoint before step 110"),
        ("results", "/runs/test/metrics.jsonl, checkpoints/, tensorboard/, result.json"),
    ]
    assert found.as_dict() | {"workers": (8,), "preprocessing": IMAGENET} == asdict(found)
    assert found.as_dict()["workers"] == [8]


def test_it_says_why_losses_do_not_compare() -> None:
    optimize = {"mix": {"mixup": 0.2}, "loss": "bce", "label_smoothing": 0.1, "class_weights": "balanced"}
    said = dict(plan(optimize=optimize).rows())["train_loss"]
    ways = "of mixed images, by binary cross-entropy, by smoothed labels, by class weights"
    assert said == f"{ways}: not to be compared with val_loss"


def test_what_is_of_labels_makes_no_loss_that_reads_none() -> None:
    optimize: dict[str, Any] = {"loss": "bce", "label_smoothing": 0.1, "distill": {"teacher": "/teacher"}}
    assert plan(optimize=optimize).training_loss == (
        "by binary cross-entropy, by smoothed labels, by a teacher's answers"
    )
    optimize["distill"] |= {"weight": 1}
    assert plan(optimize=optimize).training_loss == "by a teacher's answers"


def test_it_says_that_training_sees_another_size() -> None:
    said = "trained on images of 160 px; evaluated, and later exported, at 224 px"
    assert ("sizes", said) in plan(data={"train_size": 160}).rows()
    assert not plan(data={"train_size": 224}).sizes


def test_it_says_how_workers_compute_and_what_does_nothing() -> None:
    keys = ("compile", "fused_optimizer", "recompute_activations", "tf32", "cudnn_benchmark")
    everything = {"compute": dict.fromkeys(keys, True)}
    on_gpus = plan(scale={"gpus_per_worker": 1}, **everything)
    assert ("compute", on_gpus.compute) in on_gpus.rows()
    assert on_gpus.compute == (
        "compile the training step by torch.compile; fused_optimizer; recompute_activations by blocks, for less "
        "memory; tf32; cudnn_benchmark"
    )
    said = plan(framework="tensorflow", **everything).compute
    assert said == (
        "compile the training step by XLA; fused_optimizer does nothing in TensorFlow (compile fuses updates there); "
        "recompute_activations by blocks, for less memory; tf32 does nothing without GPUs (scale.gpus_per_worker); "
        "cudnn_benchmark does nothing without GPUs (scale.gpus_per_worker)"
    )
    assert plan().compute == ""


def test_it_says_what_is_repeated() -> None:
    found = plan(data={"repeats": 3}, scale={"workers": 4})
    assert (
        "repeats",
        "each image of a batch 3 times, with another view each time: 300 of the images an epoch, others in the next",
    ) in found.rows()
    assert (found.steps_per_epoch, found.images_per_epoch) == (15, 300)
    assert found.reading[0].fetched_share == pytest.approx(plan(scale={"workers": 4}).reading[0].fetched_share / 3)
    shared = plan(data={"repeats": 3}, scale={"workers": 32})  # which do not divide the 20 images of a batch
    assert shared.reading[0].fetched_share == pytest.approx(32 / 3)


@pytest.mark.parametrize(
    ("origin", "said"),
    [
        (Origin("IMAGENET1K_V2 of resnet50", "BSD-3-Clause"), "BSD-3-Clause (of IMAGENET1K_V2 of resnet50)"),
        (Origin("SWAG of vit_b_16", "CC-BY-NC-4.0"), "CC-BY-NC-4.0: NOT FOR COMMERCIAL USE (of SWAG of vit_b_16)"),
        (Origin("/own.pth"), "not known (of /own.pth)"),
        (Origin(RANDOM), None),
        (
            Origin(RANDOM, "", {"w of net": "MIT"}),
            "no licence: the first weights are random; MIT (of its teacher w of net)",
        ),
    ],
)
def test_it_says_under_which_licence_the_first_weights_are(origin: Origin, said: str | None) -> None:
    found = replace(plan(scale={"workers": 8}), origin=origin)
    assert dict(found.rows()).get("licence") == said
    figures = "top-1 80.86 %, top-5 95.43 % at 224 px, as published" if "resnet50" in origin.weights else None
    assert dict(found.rows()).get("published") == figures
    assert found.as_dict()["origin"] == {
        "weights": origin.weights,
        "licence": origin.licence,
        "teachers": origin.teachers,
    }


def test_it_says_what_an_elastic_job_on_gpus_takes() -> None:
    rows = dict(
        plan(
            optimize={"global_batch_size": 50},
            scale={"workers": {"min": 1, "max": 2}, "cpus_per_worker": 1, "gpus_per_worker": 1},
            data={"decode_processes": 5},
        ).rows()
    )
    assert rows["workers"] == "1 or 2, each 1 CPU, 1 GPU, 5 decoding"
    assert rows["batch"] == "50 = 25 on each of 2 worker(s)"
    assert rows["steps"] == "20 an epoch, 60 in all"


def refused(*data: Manifest, nodes: list[NodeResources] | None = None, **blocks: Any) -> str:
    with pytest.raises(PlanError) as raised:
        resolve(config(**blocks), *(data or (manifest(), manifest(100))), nodes)
    return str(raised.value)


def test_a_refusal_names_the_setting_and_the_remedy_in_one_line() -> None:
    classes = ("a", *(f"c{i}" for i in range(300)))
    assert refused(manifest(), manifest(classes=("forest", "beach"))) == (
        "data.val: its classes are not those of data.train (the order differs): pack both from the same class list"
    )
    assert refused(manifest(), manifest()) == (
        "data.val: /val is the same set as data.train: what is trained on cannot validate: name another split, such as "
        ".../val"
    )
    assert refused(manifest(200, classes), manifest(400, classes)) == (
        "data.train: class 'c0' has no image in /train: add some, or remove the class and pack again"
    )
    assert refused(manifest(200, classes), manifest(400, classes), data={"train_share": 0.5}) == (
        "data.train: class 'c0' has no image in /train: raise data.train_share (0.5), or pack with smaller shards"
    )
    assert refused(manifest(10), manifest()) == (
        "optimize.global_batch_size: 64 exceeds the 10 samples of /train: lower it"
    )
    assert refused(scale={"workers": 24}) == (
        "optimize.global_batch_size: 64 is not divisible by scale.workers (24); 48 would be"
    )
    assert "(7) x optimize.accumulate_steps (2); 56 would be" in (
        refused(optimize={"accumulate_steps": 2}, scale={"workers": 7})
    )
    plain = {"arch": "vit_b_32"}  # without BatchNorm
    assert refused(model=plain, optimize={"accumulate_steps": 5}, scale={"workers": {"min": 7, "max": 24}}) == (
        "optimize.global_batch_size: 64 is not divisible by scale.workers (7 to 24) x optimize.accumulate_steps (5); "
        "120 would be"
    )
    assert refused(scale={"workers": 4}, data={"lanes": 3}) == (
        "scale.workers: 4 workers need at least as many lanes, and there are 3 "
        "(data.lanes, at most the 1000 training samples)"
    )
    assert refused(data={"lanes": 2000}) == "data.lanes: 2000 lanes exceed the 1000 samples of /train"
    scale = {"workers": 4, "cpus_per_worker": 3, "gpus_per_worker": 1}
    assert refused(nodes=[NodeResources(8.5, 2), NodeResources(2, 1)], scale=scale) == (
        "scale.workers: 4 workers of 3 CPU and 1 GPU each: the cluster has room for 2 (10.5 CPU, 3 GPU on 2 node(s)): "
        "lower scale.workers or cpus_per_worker, or, where the cluster grows by itself, --no-cluster-check"
    )


@pytest.mark.parametrize(
    ("threshold", "smoothing", "said"),
    [
        (0.0, 0.1, "0 makes all targets 1, since label_smoothing 0.1 over 2 classes leaves 0.95 to an image's class"),
        (0.96, 0.1, "0.96 makes all targets 0, since label_smoothing 0.1 over 2 classes leaves 0.95"),
        (0.2, 0.5, "0.2 makes all targets 1, since label_smoothing 0.5 over 2 classes leaves 0.75"),
        (0.0, 0.0, None),
        (0.2, 0.1, None),
    ],
)
def test_a_threshold_must_tell_classes_apart(threshold: float, smoothing: float, said: str | None) -> None:
    optimize = {"loss": "bce", "bce_threshold": threshold, "label_smoothing": smoothing}
    if said is None:
        plan(optimize=optimize)
        return
    assert refused(optimize=optimize).startswith(f"optimize.bce_threshold: {said}")
    plan(optimize={**optimize, "distill": {"teacher": "/teacher", "weight": 1}})  # no label is read


def test_a_mixture_must_take_images_of_every_class() -> None:
    classes = ("beach", "forest", "rare")
    small, large = ({0: 50, 1: 50}, {0: 500, 1: 498, 2: 2})
    sets = []
    for counts in (small, large):
        samples = sum(counts.values())
        shard = Shard(key="0.tar", size_bytes=10, sha256=f"{samples:064x}", samples=samples, class_counts=counts)
        sets.append(Manifest(classes=classes, shards=(shard,)))
    mixed = list(zip(sets, (4.0, 1.0), strict=True))
    with pytest.raises(
        PlanError, match=r"^data\.train: no epoch takes an image of class 'rare', .*: raise their weights"
    ):
        check_taken(config(), mixed)
    check_taken(config(data={"balance": 0.5}), mixed)
    check_taken(config(optimize={"distill": {"teacher": "/teacher", "weight": 1}}), mixed)
    check_taken(config(), list(zip(sets, (1.0, 4.0), strict=True)))
    check_taken(config(), [(sets[1], 1.0)])


def test_an_elastic_job_needs_room_for_a_number_that_divides_the_batch() -> None:
    scale = {"workers": {"min": 3, "max": 9}}
    assert refused(nodes=[NodeResources(3)], scale=scale).startswith("scale.workers: 4 workers of 1 CPU and 0 GPU each")
    assert plan(nodes=[NodeResources(4)], scale=scale).workers == (4, 8)


def test_what_just_fits_is_taken() -> None:
    just_full = resolve(config(data={"lanes": 64}), manifest(64), manifest(100), [NodeResources(cpus=1)])
    assert (just_full.steps_per_epoch, just_full.lanes, just_full.gpus_per_worker) == (1, 64, 0)
    assert resolve(config(scale={"workers": 4}, data={"lanes": 4}), manifest(), manifest(100)).lanes == 4


@given(st.integers(1, 200), st.integers(1, 16), st.integers(1, 4))
def test_a_plan_shares_out_the_batch_evenly_or_is_refused(batch: int, workers: int, pieces: int) -> None:
    model = {"arch": "vit_b_32"}  # without BatchNorm, so that one image is enough
    optimize = {"global_batch_size": batch, "accumulate_steps": pieces}
    if batch % (workers * pieces):
        with pytest.raises(PlanError, match=r"not divisible by scale\.workers"):
            plan(model=model, optimize=optimize, scale={"workers": workers})
    else:
        found = plan(model=model, optimize=optimize, scale={"workers": workers})
        assert found.batch_per_worker * workers == batch
        assert found.lanes % workers == 0


def test_an_elastic_job_allows_the_counts_that_divide_the_batch() -> None:
    found = plan(scale={"workers": {"min": 3, "max": 9}})
    assert found.workers == (4, 8)
    assert found.lanes % 8 == 0


def large_manifest(shards: int, shard_bytes: int) -> Manifest:
    counts = {0: 1000, 1: 1571}
    shard = Shard(key="0.tar", size_bytes=shard_bytes, sha256="0" * 64, samples=2571, class_counts=counts)
    return Manifest(classes=("beach", "forest"), shards=(shard,) * shards)


def reads(shards: int, shard_mb: int, nodes: list[NodeResources] | None = None, **blocks: Any) -> str | None:
    """The line of the plan that says what is read."""
    train = large_manifest(shards, shard_mb * 10**6)
    return dict(resolve(config(**blocks), train, manifest(100), nodes).rows()).get("reads")


def test_it_says_what_is_fetched_more_than_once() -> None:
    many: dict[str, Any] = {"scale": {"workers": 512}, "optimize": {"global_batch_size": 4096}}
    assert reads(701, 64, **many) == "1.73 times the set's 44.9 GB an epoch, up to 0.2 GB in the memory of a worker"
    assert reads(701, 1, **many) is None  # little is soon fetched
    assert reads(701, 64, scale={"workers": 64}, optimize={"global_batch_size": 128}) is None
    elastic = {"scale": {"workers": {"min": 63, "max": 64}}, "optimize": {"global_batch_size": 63 * 64}}
    assert reads(701, 64, **elastic) == (
        "1.27 times the set's 44.9 GB an epoch (26.72 times with 63 workers), up to 4.2 GB in the memory of a worker; "
        "63 workers share the 192 lanes, 48 or 64 would not"
    )
    fixed = config(scale={"workers": 48}, optimize={"global_batch_size": 960})
    resumed = resolve(fixed, large_manifest(701, 64 * 10**6), manifest(100), resumed_lanes=64)
    assert str(dict(resumed.rows())["reads"]).endswith("; 48 workers share the 64 lanes, 32 or 64 would not")


def test_it_counts_a_cache_that_holds_what_a_node_reads() -> None:
    many: dict[str, Any] = {"scale": {"workers": 512}, "optimize": {"global_batch_size": 4096}}
    nodes = [NodeResources(cpus=8)] * 64
    cache = {"cache": {"folder": "/local/shards", "size_gb": 10}}
    assert reads(701, 64, nodes, **many, data=cache) is None
    assert "1.73 times" in str(reads(701, 64, nodes, **many))
    cache = {"cache": {"folder": "/local/shards", "size_gb": 0.5}}
    assert "1.73 times" in str(reads(701, 64, nodes, **many, data=cache))


def test_it_says_what_is_held_in_memory() -> None:
    assert reads(30, 500) == "1.37 times the set's 15.0 GB an epoch, up to 7.0 GB in the memory of a worker"


def test_a_resumed_run_keeps_its_lanes() -> None:
    assert plan(resumed_lanes=60, scale={"workers": 2}).lanes == 60


@pytest.mark.parametrize(
    ("nodes", "fits"),
    [
        ([NodeResources(8, 2), NodeResources(8, 2)], True),
        ([NodeResources(16, 4)], True),
        ([NodeResources(16, 0), NodeResources(2, 4)], False),  # enough of both, but not side by side
        ([NodeResources(15, 4)], False),
        ([], False),
    ],
)
def test_workers_must_find_room_on_nodes(nodes: list[NodeResources], fits: bool) -> None:
    scale = {"workers": 4, "gpus_per_worker": 1, "cpus_per_worker": 4}
    if fits:
        assert plan(nodes, scale=scale).workers == (4,)
    else:
        with pytest.raises(PlanError, match=r"the cluster has room for [0-3] "):
            plan(nodes, scale=scale)


@pytest.mark.parametrize(
    ("train", "val", "message"),
    [
        (manifest(), manifest(classes=("beach", "desert")), "'desert' is in one of them only"),
        (manifest(), manifest(classes=("forest", "beach")), "the order differs"),
        (manifest(10), manifest(), "64 exceeds the 10 samples"),
        (
            manifest(200, ("a", *(f"c{i}" for i in range(300)))),
            manifest(400, ("a", *(f"c{i}" for i in range(300)))),
            "'c0' has no image",
        ),
    ],
)
def test_data_must_fit(train: Manifest, val: Manifest, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        resolve(config(), train, val)


@pytest.mark.parametrize(
    ("lanes", "message"), [(3, "4 workers need at least as many lanes"), (2000, "exceed the 1000")]
)
def test_lanes_must_suit_workers_and_data(lanes: int, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        plan(data={"lanes": lanes}, scale={"workers": 4})
