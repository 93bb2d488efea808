"""A study's result on disk: `summary.json`, which is the whole of it, and `summary.csv`, one row a cell for spreadsheets.

`summary.json` is plain JSON: nan is null and the infinities are the strings "Infinity" and "-Infinity".
"""

import csv
import io
import json
import math
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from edgewise.core.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from edgewise.study.engine.job import State
from edgewise.study.records import whole_file
from edgewise.study.results import CellResult, Estimate, Prediction, StudyResult

FORMAT: Final = "edgewise-study"
VERSION: Final = 1
MAX_BYTES: Final = 1 << 29

JSON_NAME: Final = "summary.json"
CSV_NAME: Final = "summary.csv"


def write(directory: Path, result: StudyResult) -> None:
    """Write `summary.json` and `summary.csv`, each whole or not at all.

    Raises:
        FailedPreconditionError: the disk is full or cannot be written.
    """
    text = json.dumps({"format": FORMAT, "version": VERSION, "study": plain(result)}, allow_nan=False)
    for name, content in ((JSON_NAME, text + "\n"), (CSV_NAME, csv_text(result))):
        # An error's text may hold bytes that are no text; JSON has escaped them already.
        data = content.encode(errors="backslashreplace")
        with whole_file(directory / name, needed_bytes=len(data)) as file:
            file.write(data)


def read(directory_or_file: Path) -> StudyResult:
    """Read what `write` wrote.

    Args:
        directory_or_file: a study's directory, or its `summary.json`.
    Raises:
        NotFoundError: there is no summary.
        InvalidArgumentError: it is damaged, no summary of a study, or of a version that this program does not know.
        FailedPreconditionError: it cannot be opened.
    """
    path = directory_or_file / JSON_NAME if directory_or_file.is_dir() else directory_or_file
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InvalidArgumentError(f"{path} is larger than any summary of a study ({MAX_BYTES} bytes)")
        found = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise NotFoundError(f"there is no summary of a study at {path}; `edgewise study run` writes one") from None
    except OSError as error:
        raise FailedPreconditionError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InvalidArgumentError(f"{path} is no JSON: {error}") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise InvalidArgumentError(f'{path} is no summary of a study: it lacks "format": "{FORMAT}"')
    if found.get("version") != VERSION:
        raise InvalidArgumentError(f"{path} has version {found.get('version')!r}; this program reads version {VERSION}")
    result = _typed(StudyResult, found.get("study"), f"{path}: study")
    assert isinstance(result, StudyResult)  # noqa: S101 - for the type checker
    return result


def csv_text(result: StudyResult) -> str:
    """One row a cell, units in the names of the columns, empty where there is no figure."""
    text = io.StringIO()
    rows = [_csv_row(cell, result.predictions) for cell in result.cells]
    writer = csv.DictWriter(text, fieldnames=_csv_columns(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


_ESTIMATES: Final = ("mean", "p50", "p95", "p99")


def _csv_columns() -> list[str]:
    return [
        "cell",
        "target",
        "profile",
        "model",
        "protocol",
        "batching",
        "outage",
        "load_per_s",
        "rate_per_s",
        "runs",
        "valid_runs",
        "requests",
        *(state.name.lower() for state in State),
        *(f"{name}{bound}_ms" for name in _ESTIMATES for bound in ("", "_low", "_high")),
        "max_ms",
        *(f"{name}{bound}_ratio" for name in ("availability", "accuracy") for bound in ("", "_low", "_high")),
        "worst_lag_p99_ms",
        "worst_engine_share_ratio",
        "predicted_mean_ms",
        "predicted_p50_ms",
        "predicted_p95_ms",
        "predicted_p99_ms",
        "predicted_utilisation_ratio",
    ]


def _csv_row(cell: CellResult, predictions: Sequence[Prediction]) -> dict[str, object]:
    asked = cell.cell
    valid = [run for run in cell.runs if not run.void]
    row: dict[str, object] = {
        "cell": _one_line(asked.name),
        "target": _one_line(asked.target),
        "profile": _one_line(asked.profile),
        "model": _one_line(asked.model),
        "protocol": _one_line(asked.protocol),
        "batching": _one_line(asked.batching),
        "outage": _one_line(asked.outage),
        "load_per_s": f"{asked.load:.15g}",
        "rate_per_s": f"{asked.rate:.15g}",
        "runs": len(cell.runs),
        "valid_runs": len(valid),
        "requests": cell.requests,
        **{state.name.lower(): cell.counts.get(state.name.lower(), 0) for state in State},
        "max_ms": _figure(_largest(run.max_ms for run in valid)),
        "worst_lag_p99_ms": _figure(_largest(run.lag_p99_ms for run in cell.runs)),
        "worst_engine_share_ratio": _figure(_largest(run.engine_share for run in cell.runs)),
    }
    empty = Estimate(math.nan, math.nan, math.nan)
    estimates = {
        "mean_ms": cell.mean_ms,
        **{f"p{round(100 * ratio)}_ms": cell.quantiles_ms.get(ratio, empty) for ratio in (0.5, 0.95, 0.99)},
        "availability_ratio": cell.availability,
        "accuracy_ratio": cell.accuracy,
    }
    for name, estimate in estimates.items():
        stem, unit = name.split("_")
        row[name] = _figure(estimate.value)
        row[f"{stem}_low_{unit}"] = _figure(estimate.low)
        row[f"{stem}_high_{unit}"] = _figure(estimate.high)
    for prediction in predictions:
        if prediction.cell == asked:
            for name in ("mean_ms", "p50_ms", "p95_ms", "p99_ms"):
                row[f"predicted_{name}"] = _figure(getattr(prediction, name))
            row["predicted_utilisation_ratio"] = _figure(prediction.utilisation)
    return row


def _one_line(text: str) -> str:
    """Names have no line breaks; one that had would make two rows in some readers."""
    return " ".join(text.split())


def _largest(values: typing.Iterable[float]) -> float:
    return max((value for value in values if not math.isnan(value)), default=math.nan)


def _figure(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"


def plain(value: object) -> object:
    """The value in what JSON has."""
    match value:
        case np.generic() | np.ndarray():
            return plain(value.tolist())
        case float():
            return _plain_float(value)
        case Mapping():
            return {_key(key): plain(item) for key, item in value.items()}
        case tuple() | list():
            return [plain(item) for item in value]
        case _ if is_dataclass(value):
            return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
        case _:
            return value


def _plain_float(value: float) -> float | str | None:
    if math.isnan(value):
        return None
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def _key(key: object) -> str:
    return repr(float(key)) if isinstance(key, float) else str(key)


def _typed(kind: Any, value: object, where: str) -> object:
    """The value of the type `kind` that a JSON value stands for.

    Raises:
        InvalidArgumentError: it stands for none; `where` is told.
    """
    origin, words = typing.get_origin(kind), typing.get_args(kind)
    if is_dataclass(kind) and isinstance(kind, type):
        return _dataclass(kind, value, where)
    if origin is tuple and isinstance(value, list):
        return tuple(_typed(words[0], item, f"{where}[{place}]") for place, item in enumerate(value))
    if isinstance(origin, type) and issubclass(origin, Mapping) and isinstance(value, dict):
        return {
            _typed_key(words[0], key, where): _typed(words[1], item, f"{where}.{key}") for key, item in value.items()
        }
    if kind is float:
        return _typed_float(value, where)
    if kind in {int, str, bool} and type(value) is kind:
        return value
    raise InvalidArgumentError(f"{where} is {_shown(value)}, which is no {_type_name(kind)}")


def _dataclass(kind: type, value: object, where: str) -> object:
    if not isinstance(value, dict):
        raise InvalidArgumentError(f"{where} is {_shown(value)}, which is no {_type_name(kind)}")
    types_by_name = typing.get_type_hints(kind)
    found = {}
    for each in fields(kind):
        if each.name in value:
            found[each.name] = _typed(types_by_name[each.name], value[each.name], f"{where}.{each.name}")
        elif each.default is MISSING and each.default_factory is MISSING:
            raise InvalidArgumentError(f"{where} lacks {each.name!r}")
    return kind(**found)


def _typed_float(value: object, where: str) -> float:
    if value is None:
        return math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if value in {"Infinity", "-Infinity"}:
        return math.inf if value == "Infinity" else -math.inf
    raise InvalidArgumentError(f"{where} is {_shown(value)}, which is no number")


def _typed_key(kind: type, key: str, where: str) -> object:
    if kind is str:
        return key
    try:
        return kind(key)
    except ValueError:
        raise InvalidArgumentError(f"{where} has the key {_shown(key)}, which is no {_type_name(kind)}") from None


def _type_name(kind: Any) -> str:
    return "list" if typing.get_origin(kind) is tuple else getattr(kind, "__name__", str(kind))


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
