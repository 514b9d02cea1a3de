"""What a bulk prediction came to, in a line."""

from rich.console import Console

from scenerec.json_object import JsonObject


def answer_words(result: JsonObject) -> str:
    """`1000 of 1003 images answered in 2.5 s, 400.0 images/s: s3://scenes/answers`; of a PredictResult as JSON."""
    some = f", {result['parts_before']} of {result['parts']} parts were there" if result["parts_before"] else ""
    speed = f" in {result['seconds']:.1f} s, {result['images_per_s']:.1f} images/s" if result["images_per_s"] else ""
    return f"{result['answered']} of {result['images']} images answered{speed}{some}: {result['output']}"


def unreadable_words(result: JsonObject) -> str:
    """`3 images cannot be read: listed in s3://scenes/answers/_unreadable.csv`; empty where all can be."""
    count = result["unreadable"]
    named = "1 image" if count == 1 else f"{count} images"
    return f"{named} cannot be read: listed in {result['unreadable_list']}" if count else ""


def show_answers(result: JsonObject, console: Console) -> None:
    """Shows the result of a job that has predicted."""
    for line in filter(None, (answer_words(result), unreadable_words(result))):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
