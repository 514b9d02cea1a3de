import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenerec.data.class_names import check_names, check_order, parse_class_list
from scenerec.names import clean, printable, same_names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("beach\ncity\nforest\n", ["beach", "city", "forest"]),
        ("\ufeffbeach\r\ncity \r\n\tforest\r\n\r\n", ["beach", "city", "forest"]),
        ("beach\rcity", ["beach", "city"]),
        ("/b/beach 0\n/c/city 1\n/f/forest 2\n", ["beach", "city", "forest"]),
        ("/f/forest 2\n/b/beach 0\n/c/church/indoor 1\n", ["beach", "church/indoor", "forest"]),
        ("/a/abbey\n/b/bar\n", ["abbey", "bar"]),
        ("1 city\n0 living room", ["living room", "city"]),
        ("1: beach\n2: city", ["beach", "city"]),
        ("beach,1\ncity,0", ["city", "beach"]),
        ("class 0\nclass 1", ["class 0", "class 1"]),
        ("hall 1\nhall 7", ["hall 1", "hall 7"]),
        ("cafe\u0301\nliving\u00a0 room", ["caf\u00e9", "living room"]),
    ],
)
def test_a_list_names_the_classes_in_order_of_their_index(text: str, names: list[str]) -> None:
    assert list(parse_class_list(text).values()) == names


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "names no class"),
        ("\n\n", "names no class"),
        ("beach\n\nforest\n", "line 2 is empty"),
        ("beach\ncity\nbeach \n", "class `beach` stands twice, as class 0 and 2"),
        ("Beach\nbeach\n", "classes `Beach` and `beach` differ in case only"),
        ("/a/airfield 0\n/b/beach 2\n", "the class indices are not 0 to 1, each once"),
        ("/a/airfield 1\n/b/beach 2\n", "the class indices are not 0 to 1, each once"),
        ('["beach", "city"]', "is no list of lines"),
        ("beach\nci\x00ty", "class `ci\\x00ty`: its name is not UTF-8 text"),
    ],
)
def test_a_list_that_leaves_an_index_open_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match="^" + problem.replace("\\", "\\\\").replace("[", "\\[")):
        parse_class_list(text)


def test_names_that_cannot_be_written_down() -> None:
    for name in ("caf\udce9", "a\x07b", ""):
        with pytest.raises(ValueError, match="name"):
            check_names([name])
    check_names(["café", "东京", "می\u200cخواهم", "👩\u200d🌾"])


@given(st.text())
def test_a_clean_name_stays_as_it_is(name: str) -> None:
    cleaned = clean(name)
    assert clean(cleaned) == cleaned
    assert cleaned == cleaned.strip()
    assert same_names([name], [f" {cleaned}\t"])


@given(st.text() | st.binary().map(lambda content: content.decode(errors="surrogateescape")))
def test_what_is_printable_is_one_line_of_utf_8(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert shown.encode().decode() == shown


def test_what_is_escaped_is_recognised() -> None:
    assert printable("caf\udce9\n.jpg") == "caf\\xe9\\n.jpg"
    assert printable("café 1.jpg") == "café 1.jpg"


def test_the_order_of_labels_is_checked_where_they_are_the_same_names() -> None:
    classes = ("beach", "café", "forest")
    check_order((" beach", "cafe\u0301", "forest"), classes, "SET")
    check_order(("Strand", "beach", "forest"), classes, "SET")
    check_order((), classes, "SET")
    with pytest.raises(ValueError, match=r"^label 0 is 'forest', which is class 2 of SET$"):
        check_order(("forest", "beach", "cafe\u0301"), classes, "SET")
