"""The examples that a release carries to be compared with what ran before: `heldout/heldout.json` in a version's directory, with their files beside it.

{"format": "edgewise-heldout/1", "output": "verdict", "examples": [{"file": "0001.jpg", "label": "dog", "source": "3"}]}

They were held out: the version was not trained on them. Pictures of one source - a camera's night - are much alike, so each source is judged as one. They are part of the release, and signed with it, as every file of the directory is.
"""

from dataclasses import dataclass
from typing import Final

from edgewise.core.errors import InvalidArgumentError
from edgewise.protocols.documents import Document, check_format, document_bytes, read_document

FORMAT: Final = "edgewise-heldout/1"
FOLDER: Final = "heldout"
NAME: Final = "heldout.json"
MAX_EXAMPLES: Final = 1000
MAX_EXAMPLE_BYTES: Final = 1 << 20
MAX_HELDOUT_BYTES: Final = 1 << 20
_LONGEST: Final = 128


@dataclass(frozen=True, slots=True)
class Example:
    """A picture whose answer is known.

    Attributes:
        file: JPEG, PNG or WebP beside the document; a name without folders.
        label: what the output is to be.
        source: examples with the same one are alike; "" is like no other. Any name: sites that get the release read it.
    """

    file: str
    label: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class Heldout:
    """All of them.

    Attributes:
        output: of the model, a string for each picture; of several, such as `labels`, the first counts.
    """

    examples: tuple[Example, ...]
    output: str = "verdict"


def read_heldout(content: bytes) -> Heldout:
    """What `heldout_bytes` wrote, or a person.

    Raises: InvalidArgumentError: where it is wrong, what was found, and what would be right.
    """
    top = read_document(content, f"{FOLDER}/{NAME}", max_bytes=MAX_HELDOUT_BYTES)
    check_format(top, FORMAT)
    tables = top.tables("examples", ())
    if not 0 < len(tables) <= MAX_EXAMPLES:
        raise top.error("examples", f"found {len(tables)}, expected 1 to {MAX_EXAMPLES} pictures with file and label")
    examples = tuple(map(_example, tables))
    names: set[str] = set()
    for table, example in zip(tables, examples, strict=True):
        if example.file in names:
            raise table.error("file", f"{example.file!r} is named twice; each picture is to be asked once")
        names.add(example.file)
    output = top.text("output", "verdict", longest=_LONGEST)
    return Heldout(examples, output)


def heldout_bytes(heldout: Heldout) -> bytes:
    """The document."""
    examples = [
        {"file": example.file, "label": example.label, **({"source": example.source} if example.source else {})}
        for example in heldout.examples
    ]
    return document_bytes({"format": FORMAT, "output": heldout.output, "examples": examples})


def _example(table: Document) -> Example:
    file = table.text("file", longest=_LONGEST)
    if not file or "/" in file or "\\" in file or file.startswith(".") or not file.isprintable():
        raise table.wrong("file", file, f"the name of a picture in {FOLDER}/, such as '0001.jpg'")
    label = table.text("label", longest=_LONGEST)
    if not label or not label.isprintable():
        raise table.wrong("label", label, "what the model is to say, such as 'dog'")
    source = table.text("source", "", longest=_LONGEST)
    if not source.isprintable():
        raise table.wrong("source", source, "any name that is the same for pictures that are alike, such as '3'")
    return Example(file, label, source)


def check_heldout(content: bytes, sizes_bytes: dict[str, int]) -> Heldout:
    """A set that can be asked.

    Args:
        content: of the document.
        sizes_bytes: of the files beside it, by name.

    Raises: InvalidArgumentError: the document is wrong, or a picture is missing or too large.
    """
    heldout = read_heldout(content)
    for example in heldout.examples:
        size_bytes = sizes_bytes.get(example.file)
        if size_bytes is None:
            raise InvalidArgumentError(f"{FOLDER}/{NAME} names {example.file!r}, which is not in {FOLDER}/")
        if not 0 < size_bytes <= MAX_EXAMPLE_BYTES:
            raise InvalidArgumentError(
                f"{FOLDER}/{example.file} has {size_bytes} bytes; expected a picture of at most {MAX_EXAMPLE_BYTES}"
            )
    return heldout
