"""COCO's `annotations.json`, and the pictures in `images`.

COCO is made for boxes; that a picture as a whole is of a class is written as programs that read COCO expect it: one annotation a picture, whose
box is the whole picture. Source: COCO, "Data format" (images, annotations, categories; bbox [x, y, width, height] in pixels).
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from edgewise.core.errors import InvalidArgumentError
from edgewise.hub.labelling.entries import EXPORTED, Entry, Found
from edgewise.hub.labelling.files import MAX_ENTRIES, Pictures, id_in, listed, read_json, suffix_of
from edgewise.hub.labelling.shown import Shown

ANNOTATIONS: Final = "annotations.json"
LISTS: Final = (ANNOTATIONS, "labels.json", "result.json")
_FIELD: Final = "edgewise"
"""What is ours of an image: readers pass over fields that they do not know."""
_KEPT: Final = ("source", "site", "model", "captured")


def place(shown: Shown) -> str:
    """Where the picture of a sample goes."""
    return f"images/{shown.id}{suffix_of(shown.content_type)}"


def files(samples: Sequence[tuple[str, Shown]], name: str) -> Mapping[str, bytes]:
    """What lies beside the pictures.

    Args:
        samples: where the picture is, and the sample.
        name: of the whole.
    """
    labels = sorted({shown.label for _, shown in samples if shown.label})
    numbers = {label: number for number, label in enumerate(labels, 1)}
    images, annotations = [], list[dict[str, Any]]()
    for number, (file, shown) in enumerate(samples, 1):
        width, height = shown.width or 0, shown.height or 0
        about = {kept: getattr(shown, kept) for kept in _KEPT}
        images.append(
            {
                "id": number,
                "file_name": file,
                "width": width,
                "height": height,
                "date_captured": shown.captured.replace("T", " ").removesuffix("Z"),
                _FIELD: {"id": shown.id, **about, "synthetic": shown.synthetic, EXPORTED: shown.label},
            }
        )
        if shown.label:
            box = {"bbox": [0, 0, width, height], "area": width * height, "iscrowd": 0, "segmentation": []}
            about = {"id": len(annotations) + 1, "image_id": number, "category_id": numbers[shown.label]}
            annotations.append({**about, **box})
    value = {
        "info": {"description": f"{name}, exported by edgewise", "version": "1.0"},
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": [{"id": numbers[label], "name": label, "supercategory": ""} for label in labels],
    }
    return {ANNOTATIONS: json.dumps(value, indent=1).encode()}


def read(path: Path) -> Found:
    """What a file says, or the `annotations.json` of a directory. An image with annotations of two classes is refused.

    Raises: InvalidArgumentError: it is none.
    """
    file = listed(path, LISTS)
    value = read_json(file)
    if not isinstance(value, dict):
        raise InvalidArgumentError(f"{file}: found no object, expected one with images, annotations and categories")
    found, pictures = Found(), Pictures(file.parent)
    names = _categories(file, value)
    labels, wrong = _labels(file, value, names, found)
    for index, image in enumerate(_list(file, value, "images")):
        where = f"{file}: images[{index}]"
        if isinstance(image, dict) and _number(image, "id") in wrong:
            continue
        with found.refusing(where):
            _add(found, pictures, _object(where, image), labels, where)
    if not found.entries and not found.refused:
        raise InvalidArgumentError(f"{file} names no images")
    return found


def _add(
    found: Found, pictures: Pictures, image: Mapping[str, Any], labels: Mapping[int, set[str]], where: str
) -> None:
    name, number = image.get("file_name"), _number(image, "id")
    if not isinstance(name, str) or not name:
        raise InvalidArgumentError(f"file_name: found {name!r}, expected the name of a file")
    said = labels.get(number, set()) if number is not None else set()
    if len(said) > 1:
        raise InvalidArgumentError(
            f"{name!r} is annotated as {', '.join(sorted(said))}; a picture has one class here, so leave one of them"
        )
    about = image.get(_FIELD)
    about = about if isinstance(about, dict) else {}
    sample_id = about.get("id")
    sample_id = sample_id if isinstance(sample_id, str) and sample_id else id_in(name)
    picture = pictures.find(name) if sample_id else pictures.needed(name)
    kept = {key: text for key in _KEPT if isinstance(text := about.get(key), str)}
    synthetic = about.get("synthetic") is True
    exported = label if isinstance(label := about.get(EXPORTED), str) else None
    label = next(iter(said), "")
    found.add(Entry(where, label, sample_id, picture, **kept, synthetic=synthetic, exported=exported))


def _categories(file: Path, value: Mapping[str, Any]) -> Mapping[int, str]:
    names: dict[int, str] = {}
    for index, one in enumerate(_list(file, value, "categories")):
        where = f"{file}: categories[{index}]"
        category = _object(where, one)
        number, name = _number(category, "id"), category.get("name")
        if number is None or not isinstance(name, str):
            raise InvalidArgumentError(f"{where}: found {str(one)[:80]}, expected an id (a number) and a name")
        if names.setdefault(number, name) != name:
            raise InvalidArgumentError(f"{where}.id: {number} is the id of {names[number]!r} already")
    return names


def _labels(
    file: Path, value: Mapping[str, Any], names: Mapping[int, str], found: Found
) -> tuple[dict[int, set[str]], set[int]]:
    """The classes of each image, by its id; and the images that are refused with an annotation of theirs, each told once."""
    ids = {_number(one, "id") for one in _list(file, value, "images") if isinstance(one, dict)}
    labels: dict[int, set[str]] = {}
    wrong: set[int] = set()
    for index, one in enumerate(_list(file, value, "annotations")):
        where = f"{file}: annotations[{index}]"
        with found.refusing(where):
            annotation = _object(where, one)
            category, image = _number(annotation, "category_id"), _number(annotation, "image_id")
            if image is None or image not in ids:
                raise InvalidArgumentError(
                    f"image_id: found {annotation.get('image_id')!r}, expected one of the images' ids"
                )
            if image in wrong:
                continue
            if category is None or category not in names:
                wrong.add(image)
                raise InvalidArgumentError(
                    f"category_id: found {annotation.get('category_id')!r}, expected one of the categories' ids: "
                    f"{', '.join(map(str, sorted(names)))[:200] or 'there are none'}"
                )
            labels.setdefault(image, set()).add(names[category])
    return labels, wrong


def _list(file: Path, value: Mapping[str, Any], name: str) -> list[Any]:
    found = value.get(name)
    if not isinstance(found, list):
        raise InvalidArgumentError(
            f"{file}: {name}: expected a list; COCO has images, annotations and categories, each of them one"
        )
    if len(found) > MAX_ENTRIES:
        raise InvalidArgumentError(f"{file}: {name}: more than {MAX_ENTRIES} entries, the most that is taken at once")
    return found


def _object(where: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise InvalidArgumentError(f"{where}: found {str(value)[:80]!r}, expected an object")
    return value


def _number(value: Mapping[str, Any], name: str) -> int | None:
    found = value.get(name)
    return found if isinstance(found, int) and not isinstance(found, bool) else None
