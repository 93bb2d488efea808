"""Label Studio's tasks: `tasks.json`, the labelling configuration that fits it, and the pictures in `images`.

Source: Label Studio's documentation, "Label Studio JSON format of annotated tasks" and "Import pre-annotated data" (data, predictions,
annotations; a result of type `choices` with from_name and to_name), "Export annotations" (JSON, JSON_MIN), "Local storage" (/data/local-files/).
"""

import json
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, quote, unquote, urlsplit

from edgewise.core.errors import InvalidArgumentError
from edgewise.hub.labelling.entries import EXPORTED, Entry, Found
from edgewise.hub.labelling.files import MAX_ENTRIES, Pictures, id_in, listed, read_json, suffix_of
from edgewise.hub.labelling.shown import Shown

TASKS: Final = "tasks.json"
LISTS: Final = (TASKS, "result.json")
CONFIGURATION: Final = "label-config.xml"
_ID: Final = "edgewise_id"
_CONTROL, _PICTURE = "label", "image"
_LOCAL: Final = "/data/local-files/"
_UPLOADED: Final = re.compile(r"[0-9a-f]{8}-")
"""What Label Studio puts before the name of a file that was uploaded to it."""
_KEPT: Final = ("source", "site", "model", "captured")
_MIN_NAMES: Final = ("label", "choice", "choices")


def place(shown: Shown) -> str:
    """Where the picture of a sample goes."""
    return f"images/{shown.id}{suffix_of(shown.content_type)}"


def files(samples: Sequence[tuple[str, Shown]], name: str) -> Mapping[str, bytes]:
    """What lies beside the pictures.

    Args:
        samples: where the picture is, and the sample.
        name: of the directory, which is to lie directly in what Label Studio has as the root of its local files.
    """
    tasks = [_task(file, shown, name) for file, shown in samples]
    labels = {label for _, shown in samples for label in (shown.label, shown.prediction) if label}
    return {
        TASKS: json.dumps(tasks, indent=1).encode(),
        CONFIGURATION: _configuration(sorted(labels)).encode(),
    }


def read(path: Path) -> Found:
    """What an export of Label Studio says (JSON or JSON_MIN), or the `tasks.json` of a directory. Pictures are never fetched from elsewhere.

    Raises: InvalidArgumentError: it is none.
    """
    file = listed(path, LISTS)
    value = read_json(file)
    if not isinstance(value, list):
        raise InvalidArgumentError(f"{file}: found no list, expected one of tasks, as Label Studio exports JSON")
    if len(value) > MAX_ENTRIES:
        raise InvalidArgumentError(f"{file}: more than {MAX_ENTRIES} tasks, the most that is taken at once")
    found, pictures = Found(), Pictures(file.parent)
    for index, task in enumerate(value):
        where = f"{file}: task {index}"
        with found.refusing(where):
            if not isinstance(task, dict):
                raise InvalidArgumentError(f"found {str(task)[:80]!r}, expected an object with data and annotations")
            _add(found, pictures, task, where, file.parent.resolve().name)
    if not found.entries and not found.refused:
        raise InvalidArgumentError(f"{file} has no tasks")
    return found


def _task(file: str, shown: Shown, name: str) -> dict[str, Any]:
    about = {kept: getattr(shown, kept) for kept in _KEPT}
    data = {_PICTURE: f"{_LOCAL}?d={quote(f'{name}/{file}')}", _ID: shown.id, **about, "synthetic": shown.synthetic}
    data[EXPORTED] = shown.label
    task: dict[str, Any] = {"data": data, "predictions": [], "annotations": []}
    if shown.prediction:
        score = shown.confidence if shown.confidence is not None else _score(shown)
        prediction: dict[str, Any] = {
            "model_version": f"{shown.model} {shown.version or ''}".strip(),
            "result": [_result(shown.prediction)],
        }
        task["predictions"].append(prediction if score is None else {**prediction, "score": score})
        data["scores"] = {one.label: one.score for one in shown.scores}
    if shown.label:
        task["annotations"].append({"result": [_result(shown.label)]})
    return task


def _score(shown: Shown) -> float | None:
    return next((one.score for one in shown.scores if one.label == shown.prediction), None)


def _result(label: str) -> dict[str, Any]:
    return {"from_name": _CONTROL, "to_name": _PICTURE, "type": "choices", "value": {"choices": [label]}}


def _configuration(labels: Sequence[str]) -> str:
    choices = "".join(f'    <Choice value="{escape(label)}"/>\n' for label in labels)
    return (
        f'<View>\n  <Image name="{_PICTURE}" value="${_PICTURE}"/>\n'
        f'  <Choices name="{_CONTROL}" toName="{_PICTURE}" choice="single" showInLine="true">\n{choices}  </Choices>\n</View>\n'
    )


def _add(found: Found, pictures: Pictures, task: Mapping[str, Any], where: str, folder: str) -> None:
    has_annotations = "annotations" in task
    data = task.get("data") if has_annotations or "data" in task else task
    if not isinstance(data, dict):
        raise InvalidArgumentError(f"data: found {str(data)[:80]!r}, expected an object with image")
    label = _annotated(task) if has_annotations else _minimal(task)
    picture = data.get(_PICTURE)
    picture = picture if isinstance(picture, str) else ""
    sample_id = data.get(_ID) or _id_in(picture)
    if not isinstance(sample_id, str):
        raise InvalidArgumentError(f"data.{_ID}: found {str(sample_id)[:80]!r}, expected a string")
    kept = {key: text for key in _KEPT if isinstance(text := data.get(key), str)}
    file = _file(pictures, picture, folder, needed=not sample_id)
    synthetic = data.get("synthetic") is True
    exported = was if isinstance(was := data.get(EXPORTED), str) else None
    found.add(Entry(where, label, sample_id, file, **kept, synthetic=synthetic, exported=exported))


def _annotated(task: Mapping[str, Any]) -> str:
    """What those who looked at a task chose; "" where nobody did.

    Raises: InvalidArgumentError: they chose different things, or something else than one class.
    """
    annotations = task["annotations"]
    if not isinstance(annotations, list):
        raise InvalidArgumentError(f"annotations: found {str(annotations)[:80]!r}, expected a list")
    chosen = set()
    for number, annotation in enumerate(annotations):
        place = f"annotations[{number}].result"
        if not isinstance(annotation, dict) or not isinstance(annotation.get("result", []), list):
            raise InvalidArgumentError(f"{place}: expected a list of results")
        if annotation.get("was_cancelled") is not True:
            chosen |= {one for result in annotation.get("result", []) if (one := _choice(result, place))}
    if len(chosen) > 1:
        raise InvalidArgumentError(
            f"its annotations say {', '.join(sorted(chosen))}; a picture has one class here, so settle it there first"
        )
    return next(iter(chosen), "")


def _choice(result: Any, place: str) -> str:
    if not isinstance(result, dict) or result.get("type") != "choices":
        kind = result.get("type") if isinstance(result, dict) else result
        raise InvalidArgumentError(
            f'{place}: found the type {str(kind)[:40]!r}, expected "choices": boxes and the like are no class of a picture'
        )
    value = result.get("value")
    return _one(value.get("choices") if isinstance(value, dict) else None, f"{place}.value.choices")


def _minimal(task: Mapping[str, Any]) -> str:
    """The same of JSON_MIN, where a choice stands beside the data, under the name of its control."""
    for name in _MIN_NAMES:
        value = task.get(name)
        if isinstance(value, str):
            return value
        if isinstance(value, dict):
            return _one(value.get("choices"), f"{name}.choices")
    return ""


def _one(choices: Any, place: str) -> str:
    if not isinstance(choices, list) or not all(isinstance(one, str) for one in choices) or len(choices) > 1:
        raise InvalidArgumentError(f"{place}: found {str(choices)[:80]!r}, expected a list with one class")
    return choices[0] if choices else ""


def _id_in(picture: str) -> str:
    """The id in the name of a picture that was exported from here."""
    name = _path_of(picture).rpartition("/")[2]
    return id_in(_UPLOADED.sub("", name, count=1)) or id_in(name)


def _file(pictures: Pictures, picture: str, folder: str, *, needed: bool) -> Path | None:
    path = _path_of(picture).removeprefix(f"{folder}/")
    if "://" in picture or not path:
        if needed:
            raise InvalidArgumentError(
                f"data.image: found {picture[:80]!r}, expected a file beside the list, or data.{_ID} with the id of a sample; "
                "nothing is fetched from elsewhere"
            )
        return None
    return pictures.needed(path) if needed else pictures.find(path)


def _path_of(picture: str) -> str:
    """The path of a file in what Label Studio calls an image.

    Raises: InvalidArgumentError: it is no address, though it looks like one.
    """
    if not picture.startswith(("/", "http")):
        return picture
    try:
        parts = urlsplit(picture)
    except ValueError as error:
        raise InvalidArgumentError(f"data.image: found {picture[:80]!r}, which is no address: {error}") from None
    if parts.path == _LOCAL:
        return parse_qs(parts.query).get("d", [""])[0].lstrip("/")
    return unquote(parts.path).lstrip("/")
