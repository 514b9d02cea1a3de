from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from scenerec.data.manifest import read_manifest
from scenerec.data.packing.pack import PackRequest, pack
from scenerec.data.show import contact_sheet, describe
from scenerec.storage import LocalStorage

Encode = Callable[..., bytes]
WriteTree = Callable[[Mapping[str, bytes | str]], Path]


def test_numbers_and_pictures(encode: Encode, write_tree: WriteTree, tmp_path: Path) -> None:
    sizes = {"sea": (60, 40), "city": (30, 90)}
    files = {
        f"{name}/{n}.jpg": encode(n, size=size)
        for name, size in sizes.items()
        for n in range(4 if name == "sea" else 2)
    }
    files["places.csv"] = b"class,indoor_outdoor\nsea,outdoor\n"
    pack(PackRequest(source=write_tree(files), destination=str(tmp_path / "packed")))
    storage = LocalStorage(tmp_path / "packed")
    manifest = read_manifest(storage)

    found = describe(storage, manifest)
    assert (found.class_counts, found.places) == ({"city": 2, "sea": 4}, 1)
    assert (found.samples, found.shards, found.probed_images) == (6, 1, 6)
    assert found.width == {"p5": 30, "p50": 60, "p95": 60}
    assert found.height == {"p5": 40, "p50": 40, "p95": 90}
    assert (
        min(len(content) for name, content in files.items() if name.endswith(".jpg"))
        <= found.image_bytes["p5"]
        <= found.image_bytes["p95"]
    )

    sheet = np.asarray(contact_sheet(storage, manifest, per_class=3, thumb=32))
    city, sea = sheet[:54], sheet[54:]
    assert (city[24:50, 76:] == 255).all()  # the third place: there are two pictures
    assert (sea[24:50, 80:100] != 255).any()
    assert (city[4:20, :40] == 0).any()  # its name


def test_where_pictures_were_taken_is_told_in_whole_degrees(located_scenes: Path, scenes: Path) -> None:
    storage = LocalStorage(located_scenes / "train")
    found = describe(storage, read_manifest(storage))
    assert (found.coordinates, found.samples) == (100, 100)
    assert found.bounds is not None and set(found.bounds) == {"south", "north", "west", "east"}
    assert found.bounds["south"] < -30 < 50 < found.bounds["north"]
    assert found.bounds["west"] < -170 and found.bounds["east"] > 160  # a region lies across the date line
    storage = LocalStorage(scenes / "train")
    assert describe(storage, read_manifest(storage)).bounds is None
