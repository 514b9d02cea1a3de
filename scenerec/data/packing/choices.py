"""What a person says of a data set that its names leave open."""

from pathlib import Path

from scenerec.data.finding_kinds import Kind
from scenerec.data.packing.nesting import Nested
from scenerec.data.splits import SPLITS, split_of
from scenerec.frozen import Frozen


class Choices(Frozen):
    """What to read of a data set, and what its folders mean."""

    split: str = "all"
    """`train`, `val`, `test`, or `all` there are."""
    partition: int = 1
    """Which of the ten partitions of SUN397."""
    nested: Nested | None = None
    """What of a nested folder's path names the class; None where the names are to tell."""
    splits: dict[str, str] | None = None
    """Folder or list of each split, relative to the source; empty where no folder is a split; None: by their names."""
    classes: tuple[str, ...] = ()
    """Class names in order of class index; empty where they are to be in the order of the layout."""
    partial: bool = False
    """Whether a class may have no image in a split, as where images are added to a set."""

    def wants(self, split: str) -> bool:
        """Whether this split is to be read."""
        return self.split in ("all", split)


class SourceRequest(Choices):
    """What is to be packed, and where it goes: all that another machine needs to know."""

    source: Path
    """A folder, or a CSV file."""
    destination: str
    """A folder or s3://BUCKET/PREFIX."""
    coordinates: Path | None = None
    """A table of the images' coordinates; see `scenerec.data.packing.coordinate_list`."""
    exclude: Path | None = None
    """A table whose column `path` names images of the source that are left out, such as one of `data check`."""
    division: Path | None = None
    """A table with the columns `path` and `split` that says which images of a source without splits, or without
    validation, are validated on, such as one of `scenerec train`."""
    exclude_kinds: tuple[Kind, ...] = ()
    """Kinds, by the table's column `kind`, that are left out; empty: all that are nobody's opinion."""
    relabel: Path | None = None
    """A table whose columns `path` and `likely_class` give images of the source other classes."""
    layout: str = "auto"
    """`auto`, or a name of `scenerec.data.packing.layouts.READERS`."""


def parse_splits(text: str) -> dict[str, str]:
    """The folder or list of each split from `train=FOLDER,val=FOLDER`; empty for `none`. Raises ValueError."""
    if text.strip().casefold() == "none":
        return {}
    splits: dict[str, str] = {}
    for part in text.split(","):
        name, equals, path = part.partition("=")
        split = split_of(name)
        if not equals or split is None or not path.strip("/ "):
            raise ValueError(f"{part!r} is not {', '.join(f'{each}=FOLDER' for each in SPLITS)}, or none")
        if split in splits or path.strip("/") in splits.values():
            raise ValueError(f"{part!r}: each split and each folder is named once")
        splits[split] = path.strip("/")
    return splits
