from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenerec.data.manifest import Place
from scenerec.data.packing.choices import Choices
from scenerec.data.packing.layouts import read_raw_set
from scenerec.data.packing.places import read_hierarchy, read_places, read_table, write_places
from scenerec.data.packing.raw_set import RawSet
from scenerec.errors import DataError

WriteTree = Callable[[Mapping[str, bytes | str]], Path]

HEADINGS = (
    ',Level 1,,,"Level 2, INDOOR:",,"Level 2,\n OUTDOOR NATURAL:",,"Level 2, OUTDOOR MAN-MADE:"\r\n'
    'category,indoor,"outdoor, natural","outdoor, man-made",shopping and dining,home or hotel,"water, ice, snow",'
    '"forest, field, jungle","houses, cabins, gardens, and farms"\r\n'
)
DEVKIT = {
    "categories_places365.txt": "/b/beach 0\n/b/barn 1\n/c/church/indoor 2\n/c/church/outdoor 3\n",
    "places365_val.txt": "1.jpg 0\n2.jpg 1\n3.jpg 2\n4.jpg 3\n",
    "val_256/1.jpg": "x",
}
INDOOR_OUTDOOR = "/b/barn 2\n/b/beach 2\n/c/church/indoor 1\n/c/church/outdoor 2\n"
HIERARCHY = (
    HEADINGS
    + "'/b/barn',0,1,1,0,0,0,1,1\r\n'/b/beach',0,1,0,0,0,1,0,0\r\n'/c/church/indoor',1,0,0,0,0,0,0,0\r\n,,,,,,,,\r\n"
)


def failure(source: RawSet) -> str:
    with pytest.raises(DataError) as caught:
        read_places(source)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def devkit(write_tree: WriteTree, files: Mapping[str, str]) -> RawSet:
    return read_raw_set(write_tree({**DEVKIT, **files}))


def photos(write_tree: WriteTree, table: bytes | str) -> RawSet:
    root = write_tree({"train/sea/1.jpg": "x", "train/city/square/1.jpg": "x", "places.csv": table})
    return read_raw_set(root, choices=Choices(nested="path"))


class TestPlaces365:
    def test_indoors_and_outdoors(self, write_tree: WriteTree) -> None:
        places = read_places(devkit(write_tree, {"IO_places365.txt": INDOOR_OUTDOOR}))
        assert {name: place.indoor_outdoor for name, place in places.items()} == {
            "beach": "outdoor",
            "barn": "outdoor",
            "church/indoor": "indoor",
            "church/outdoor": "outdoor",
        }

    @pytest.mark.parametrize("name", ["scene_hierarchy_places365.csv", "Scene hierarchy - Places365.csv"])
    def test_the_hierarchy_with_classes_in_several_categories(self, write_tree: WriteTree, name: str) -> None:
        natural, man_made = "outdoor, natural", "outdoor, man-made"
        assert read_places(devkit(write_tree, {name: HIERARCHY})) == {
            "beach": Place(indoor_outdoor="outdoor", category=(natural, "water, ice, snow")),
            "barn": Place(
                indoor_outdoor="outdoor",
                category=(natural, man_made, "forest, field, jungle", "houses, cabins, gardens, and farms"),
            ),
            "church/indoor": Place(indoor_outdoor="indoor", category=("indoor",)),
        }

    def test_the_list_decides_where_the_hierarchy_has_both(self, write_tree: WriteTree) -> None:
        files = {"scene_hierarchy_places365.csv": HEADINGS + "'/b/barn',1,0,1,0,0,0,0,1\n'/b/beach',1,0,1\n"}
        assert read_places(devkit(write_tree, files))["barn"].indoor_outdoor is None
        places = read_places(devkit(write_tree, files | {"IO_places365.txt": "/b/barn 2\n"}))
        assert places["barn"] == Place(
            indoor_outdoor="outdoor", category=("indoor", "outdoor, man-made", "houses, cabins, gardens, and farms")
        )
        assert places["beach"] == Place(category=("indoor", "outdoor, man-made"))

    def test_a_table_of_ones_own_goes_before_both(self, write_tree: WriteTree) -> None:
        files = {"IO_places365.txt": INDOOR_OUTDOOR, "scene_hierarchy_places365.csv": HIERARCHY}
        source = devkit(write_tree, files | {"places.csv": "class,category\nbeach,coast\n/c/church/outdoor,faith\n"})
        places = read_places(source)
        assert places["beach"] == Place(indoor_outdoor="outdoor", category=("coast",))
        assert places["church/outdoor"] == Place(indoor_outdoor="outdoor", category=("faith",))
        assert places["church/indoor"].category == ("indoor",)

    def test_nothing_beside_the_lists(self, write_tree: WriteTree) -> None:
        assert read_places(devkit(write_tree, {})) == {}

    @pytest.mark.parametrize(
        ("name", "text", "expected"),
        [
            (
                "IO_places365.txt",
                "/b/barn 2\n/z/zoo 2\n",
                "IO_places365.txt, line 2: class `/z/zoo` is not in the data",
            ),
            ("IO_places365.txt", "/b/barn 0\n", "line 1: '0' is neither 1 (indoors) nor 2 (outdoors)"),
            ("IO_places365.txt", "/b/barn\n", "line 1: expected 2 fields"),
            ("IO_places365.txt", "/b/barn 2\n/b/barn 2\n", "line 2: class `/b/barn` stands twice"),
            # The headings are three lines, as one of them has a line break.
            (
                "scene_hierarchy_places365.csv",
                HEADINGS + "'/z/zoo',0,1,0\n",
                "line 4: class `/z/zoo` is not in the data",
            ),
            (
                "scene_hierarchy_places365.csv",
                HEADINGS + "'/b/barn',0,yes,1\n",
                "line 4: 'yes' under `outdoor, natural` is neither 0 nor 1",
            ),
            ("scene_hierarchy_places365.csv", HEADINGS + ",0,1,1\n", "line 4: names no class"),
            (
                "scene_hierarchy_places365.csv",
                "'/b/barn',0,1,1\n",
                "no line heads the columns indoor; outdoor, natural;",
            ),
        ],
    )
    def test_malformed_files(self, write_tree: WriteTree, name: str, text: str, expected: str) -> None:
        assert expected in failure(devkit(write_tree, {name: text}))


def test_sun397_by_its_own_sheet_alone(write_tree: WriteTree) -> None:
    files = {
        "ClassName.txt": "/a/abbey\n/b/beach\n",
        "Training_01.txt": "/a/abbey/sun_1.jpg\n/b/beach/sun_2.jpg\n",
        "Testing_01.txt": "/a/abbey/sun_1.jpg\n/b/beach/sun_2.jpg\n",
        "a/abbey/sun_1.jpg": "x",
        "IO_places365.txt": "/z/zoo 2\n",
    }
    assert read_places(read_raw_set(write_tree(files))) == {}
    write_tree({"hierarchy_three_levels/three_levels.csv": HEADINGS + "'/b/beach/',0.0,1.0,0.0,0,0,1,0,0\n"})
    assert read_places(read_raw_set(write_tree(files))) == {
        "beach": Place(indoor_outdoor="outdoor", category=("outdoor, natural", "water, ice, snow"))
    }


class TestTable:
    def test_either_column_may_be_empty_or_missing(self, write_tree: WriteTree) -> None:
        text = "class,indoor_outdoor,category\nsea, Outdoor ,nature > water/ice\ncity/square,,built/town\n"
        assert read_places(photos(write_tree, text)) == {
            "city/square": Place(category=("built", "town")),
            "sea": Place(indoor_outdoor="outdoor", category=("nature", "water/ice")),
        }
        assert read_places(photos(write_tree, "indoor_outdoor,class\noutdoor,sea\n,city/square\n")) == {
            "sea": Place(indoor_outdoor="outdoor")
        }

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("class,category\nsea,water\nsee,water\n", "places.csv, line 3: class `see` is not in the data set"),
            ("class,category\nsea,water\nsea,water\n", "places.csv, line 3: class `sea` stands twice"),
            (
                "class,indoor_outdoor\nsea,outside\n",
                "line 2: indoor_outdoor 'outside': write indoor, outdoor, or nothing",
            ),
            ("class,category\nsea,nature > > water\n", "line 2: category 'nature > > water' has an empty level"),
            ("class,category\nsea,/nature\n", "line 2: category '/nature' has an empty level"),
            ("class,category\nsea,water, ice\n", "line 2: has more fields than columns: put a value that has commas"),
            ("class,category\n,water\n", "line 2: class is empty"),
            ("name,category\nsea,water\n", "places.csv: no column `class`: the first line must name class"),
            ("", "places.csv: no column `class`"),
            ("class,category\nsea,\xe9\n".encode("latin-1"), "places.csv: not UTF-8 text"),
        ],
    )
    def test_malformed_files(self, write_tree: WriteTree, text: bytes | str, expected: str) -> None:
        assert expected in failure(photos(write_tree, text))

    def test_a_list_of_images_may_be_called_so(self, write_tree: WriteTree) -> None:
        root = write_tree({"places.csv": "path,label\n1.jpg,sea\n2.jpg,city\n"})
        assert read_places(read_raw_set(root)) == {}

    def test_beside_a_list_of_images(self, write_tree: WriteTree) -> None:
        root = write_tree({"set.csv": "path,label\n1.jpg,sea\n", "places.csv": "class,category\nsea,water\n"})
        assert read_places(read_raw_set(root)) == {"sea": Place(category=("water",))}


levels = st.text(st.characters(exclude_characters=">/", exclude_categories=("Cc", "Cs")), min_size=1).filter(
    lambda text: text == text.strip()
)
described = st.builds(
    Place,
    indoor_outdoor=st.sampled_from(["indoor", "outdoor", None]),
    category=st.lists(levels, max_size=4).map(tuple),
)


@given(st.dictionaries(levels, described, max_size=6))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, places: dict[str, Place]) -> None:
    path = tmp_path_factory.mktemp("places") / "places.csv"
    write_places(path, places)
    assert {name: place for _, name, place in read_table(path)} == places


@given(st.lists(st.lists(st.booleans(), min_size=8, max_size=8), max_size=8))
def test_any_marks_give_the_widest_first_and_one_world_at_most(
    tmp_path_factory: pytest.TempPathFactory, marks: list[list[bool]]
) -> None:
    path = tmp_path_factory.mktemp("hierarchy") / "scenes.csv"
    rows = [f"'/a/a{n}',{','.join('01'[mark] for mark in row)}\n" for n, row in enumerate(marks)]
    path.write_text(HEADINGS + "".join(rows), newline="")
    found = [place for _, _, place in read_hierarchy(path)]
    for row, place in zip(marks, found, strict=True):
        indoors, natural, man_made = row[:3]
        assert len(place.category) == sum(row)
        assert place.category[: sum(row[:3])] == tuple(
            name
            for name, mark in zip(("indoor", "outdoor, natural", "outdoor, man-made"), row[:3], strict=True)
            if mark
        )
        outdoors = natural or man_made
        assert place.indoor_outdoor == (None if indoors == outdoors else "indoor" if indoors else "outdoor")
