"""Folders of classes: `CLASS/IMAGE`, in splits or not, in as many wrappings as archives and people put around them."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from scenerec.data.class_names import check_names
from scenerec.data.packing.choices import Choices
from scenerec.data.packing.nesting import name_classes
from scenerec.data.packing.raw_set import Problem, RawImage, RawSet
from scenerec.data.packing.tree import Folder, skipped_below
from scenerec.data.splits import SPLITS, find_splits, is_unlabelled, names_content, says_nothing, split_of
from scenerec.errors import DataError
from scenerec.names import clean, few, printable


class _Branch(NamedTuple):
    """Where class folders of a split lie."""

    folder: Folder
    class_name: str = ""
    """The class that the whole folder belongs to, where splits lie within classes."""
    passed: tuple[Folder, ...] = ()
    """The folders of the split that only wrap this one."""


Branches = dict[str, list[_Branch]]
"""By split, in the order of SPLITS."""

_SHOWN_SKIPPED = 8
_SHOWN_ORIGINS = 2


def read_imagefolder(source: Folder, choices: Choices) -> RawSet:
    """`CLASS/IMAGE`, or that below folders of splits, or `CLASS/SPLIT/IMAGE`. Classes may nest: `market/indoor`.

    Raises DataError where it is not certain which folders are splits, and which are classes.
    """
    around = _unwrapped(source, choices)
    top = around[-1]
    branches, remarks = _find_branches(top, choices)
    files: dict[str, list[tuple[str, Folder]]] = {split: [] for split in branches}
    problems: dict[str, list[Problem]] = {split: [] for split in branches}
    if first := next(filter(choices.wants, branches), None):
        for folder in around:  # in which lists and descriptions are nothing odd
            problems[first] += _odd(folder, folder.pictures)
    for split, parts in branches.items():
        for branch in parts:
            _collect(branch, top, files[split], problems[split])
    for split, folder in _without_pictures(files):
        problems[split] += [Problem.of("stray", folder.join(name), "in no folder of pictures") for name in folder.files]
        remarks.append(f"left out: {printable(folder.path)}/, no picture in it")
    # The classes are those of all splits, also of the unwanted: an index must mean the same in each.
    names = _named({path for found in files.values() for path, _ in found}, branches, top, choices)
    splits = {
        split: tuple(RawImage(folder.join(name), names[path]) for path, folder in found for name in folder.files)
        for split, found in files.items()
        if choices.wants(split)
    }
    if skipped := sorted(skipped_below(source).items(), key=lambda item: (-item[1], item[0])):
        named = few([f"{name} ({count})" for name, count in skipped], _SHOWN_SKIPPED)
        remarks.append(f"skipped, as programs leave it behind: {named}")
    return RawSet(
        "imagefolder",
        source.location,
        tuple(sorted(set(names.values()))),
        splits,
        {split: few([part.folder.path or "." for part in branches[split]], _SHOWN_ORIGINS) for split in splits},
        {split: tuple(problems[split]) for split in splits},
        tuple(remarks),
        top.path,
    )


def _named(paths: Collection[str], branches: Branches, top: Folder, choices: Choices) -> dict[str, str]:
    """The class of each path of a class folder."""
    where = printable(str(top.location))
    if all(map(names_content, paths)):  # so it is of none
        folders = few([f"{part.folder.path or '.'}/" for parts in branches.values() for part in parts])
        raise DataError(
            f"{where}: no folder of a class in {folders}: expected train/CLASS/IMAGE, or say --splits none "
            "where these are classes"
        )
    names = name_classes(paths, choices.nested, where)
    try:
        check_names(sorted(set(names.values())))
    except ValueError as error:
        raise DataError(f"{where}: {error}") from None
    return names


def _without_pictures(files: dict[str, list[tuple[str, Folder]]]) -> list[tuple[str, Folder]]:
    """Takes folders of files that are no pictures by their names out of those of classes, unless all are such."""
    if not any(folder.pictures for found in files.values() for _, folder in found):
        return []
    others = [(split, entry) for split, found in files.items() for entry in found]
    others = [(split, entry) for split, entry in others if entry[1].files and not entry[1].pictures]
    for split, entry in others:
        files[split].remove(entry)
    return [(split, folder) for split, (_, folder) in others]


def wrappings(source: Folder) -> Iterator[Folder]:
    """The folder, and as long as there is nothing but one folder with pictures in it, that one."""
    yield source
    while (inner := _sole_folder(source)) is not None:
        yield inner
        source = inner


def _sole_folder(folder: Folder) -> Folder | None:
    """The only folder in it, but for such as hold files and no picture, as documentation does."""
    held = _held(folder)
    return held[0] if len(held) == 1 else None


def _held(folder: Folder) -> list[Folder]:
    """The folders in it, without such as hold files and no picture."""
    return [each for each in folder.folders if each.has_pictures or not any(part.files for part in each.walk())]


def _unwrapped(source: Folder, choices: Choices) -> list[Folder]:
    """The folders from the source down to the one whose folders are splits or classes, which is the last."""
    passed: list[Folder] = []
    for level in wrappings(source):
        passed.append(level)
        inner = _sole_folder(level)
        if choices.splits:
            if all(map(level.find, choices.splits.values())):
                return passed
        elif inner is None or split_of(inner.name) or not _wraps(level, inner):
            return passed
    return [source]


def _wraps(folder: Folder, inner: Folder) -> bool:
    """Whether a folder has nothing but the only folder in it: pictures beside that would be a class's, or be stray."""
    if folder.pictures and len(set(find_splits(each.name for each in inner.folders).values())) < len(SPLITS) - 1:
        return False
    return any(each.has_pictures for each in inner.folders)


def _find_branches(top: Folder, choices: Choices) -> tuple[Branches, list[str]]:
    """Which folders are which split; and of the others, why they are left out."""
    if choices.splits:
        return _stated_branches(top, choices.splits)
    everything: Branches = {"train": [_Branch(top)]}
    if choices.splits is not None:
        return everything, []
    by_name = {folder.name: folder for folder in top.folders}
    splits = dict(sorted(find_splits(by_name).items(), key=lambda item: SPLITS.index(item[1])))
    if not splits:
        return _splits_within_classes(top) or everything, []
    others = [folder for name, folder in by_name.items() if name not in splits]
    beside = [folder for folder in others if folder.has_pictures and not is_unlabelled(folder.name)]
    if beside and len(splits) == 1 and not by_name[next(iter(splits))].folders:
        return everything, []  # a class that is called train
    where = printable(str(top.location))
    for name, split in splits.items():
        if twin := next((other for other in splits if other != name and splits[other] == split), None):
            first, second = sorted(map(printable, (name, twin)))
            raise DataError(f"{where}: {first}/ and {second}/ are both {split}: {_remedy(splits)}, or move one away")
    if beside:
        known = ", ".join(f"{printable(name)}/" for name in splits)
        raise DataError(
            f"{where}: {printable(beside[0].name)}/ beside {known} is named after no split: "
            f"{_remedy(splits)} (others are left out), --splits none if these are classes, or move it away"
        )
    branches = _unwrapped_branches({split: by_name[name] for name, split in splits.items()})
    return branches, [f"left out: {printable(folder.name)}/, named after no split" for folder in others]


def _remedy(splits: Mapping[str, str]) -> str:
    """The option that would say what was guessed."""
    stated = {split: name for name, split in splits.items()}
    return f"say --splits {','.join(f'{split}={printable(name)}' for split, name in stated.items())}"


def _stated_branches(top: Folder, stated: Mapping[str, str]) -> tuple[Branches, list[str]]:
    folders: dict[str, Folder] = {}
    for split, path in stated.items():
        folder = top.find(path)
        if folder is None:
            raise DataError(f"--splits {split}={path}: there is no such folder in {top.location}")
        folders[split] = folder
    taken = {path.split("/")[0] for path in stated.values()}
    left_out = [printable(folder.name) for folder in top.folders if folder.name not in taken]
    return _unwrapped_branches(folders), [f"left out: {name}/, as --splits says" for name in left_out]


def _unwrapped_branches(folders: Mapping[str, Folder]) -> Branches:
    """The splits without the single folders around their classes: `seg_train/seg_train`, `train/images`."""
    soles = {sole.name for folder in folders.values() if (sole := _sole_folder(folder))}
    branches: Branches = {}
    for split in (split for split in SPLITS if split in folders):
        folder = folders[split]
        passed = []
        while (inner := _sole_folder(folder)) is not None and not folder.pictures and _wraps(folder, inner):
            doubled = clean(inner.name).casefold() == clean(folder.name).casefold()
            if not (doubled or split_of(inner.name) or says_nothing(inner.name) or len(soles) > 1):
                break  # a class of its own in each split
            passed.append(folder)
            folder = inner
        branches[split] = [_Branch(folder, passed=tuple(passed))]
    return branches


def _splits_within_classes(top: Folder) -> Branches | None:
    """`beach/train`, `beach/val`, `forest/train` ...; None where that is not so for all."""
    branches: Branches = {split: [] for split in SPLITS}
    for folder in _held(top):
        held = _held(folder)
        splits = find_splits(each.name for each in held)
        if folder.pictures or not splits or len(splits) < len(held):
            return None
        for each in held:
            branches[splits[each.name]].append(_Branch(each, clean(folder.name)))
    there = {split: parts for split, parts in branches.items() if parts}
    return there if len(there) > 1 else None


def _collect(branch: _Branch, top: Folder, files: list[tuple[str, Folder]], problems: list[Problem]) -> None:
    """Adds the class folders of a branch, each with its path, and what else is there."""
    for folder in branch.passed:
        problems += _odd(folder, folder.files)
    for path, folder, is_in_class in _class_paths(branch):
        is_class = bool(path) and bool(folder.pictures or not folder.folders)
        if is_class and (folder.files or not is_in_class):
            files.append((path, folder))
        if folder is not top:
            problems += _odd(folder, () if is_class else folder.files)


def _odd(folder: Folder, strays: Iterable[str]) -> list[Problem]:
    """The problems of a folder itself: what must not be followed, and files that are of no class."""
    return [
        *(Problem.of("special", folder.join(name), what) for name, what in folder.traps),
        *(Problem.of("stray", folder.join(name), "in no class folder") for name in strays),
    ]


def _class_paths(branch: _Branch) -> Iterator[tuple[str, Folder, bool]]:
    """All folders of a branch, each with the path of its class, and whether the folder that it lies in has pictures.

    `beach/beach` and `beach/images` are `beach`.
    """
    open_folders = [(branch.class_name, branch.folder, False)]
    while open_folders:
        path, folder, is_in_class = open_folders.pop()
        yield path, folder, is_in_class
        for inner in reversed(folder.folders):
            name = clean(inner.name)
            doubled = name.casefold() == path.rpartition("/")[2].casefold()
            wraps = len(folder.folders) == 1 and says_nothing(name)
            inner_path = path if path and (doubled or wraps) else f"{path}/{name}".lstrip("/")
            open_folders.append((inner_path, inner, bool(path and folder.pictures)))
