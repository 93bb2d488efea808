"""What clients call a signature's tensors, bound to what the model calls them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewise.core.tensors import DType, Signature, TensorSpec
from edgewise.model_server.config.model_config import FILE_NAME, SignatureOverride, TensorOverride
from edgewise.model_server.config.toml_table import ModelConfigError
from edgewise.protocols.dtypes import numpy_dtype


@dataclass(frozen=True, slots=True)
class Binding:
    """A signature and the way to the model's own one.

    Attributes:
        signature: what clients see.
        native: the name of the model's own signature.
        inputs, outputs: the model's name by the client's.
        casts_in: the model's element type, for inputs that clients send in another.
        casts_out: the client's element type, for outputs that the model gives in another.
        direct: nothing is renamed and nothing converted.
        rows: how many examples the model takes at once, no more and no less, where clients may send any number; 0: as many as there are.
    """

    signature: Signature
    native: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    casts_in: Mapping[str, np.dtype[Any]]
    casts_out: Mapping[str, np.dtype[Any]]
    direct: bool
    rows: int = 0

    def feed(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Inputs by the model's names, in the model's element types."""
        return {
            native: inputs[name].astype(self.casts_in[name], copy=False) if name in self.casts_in else inputs[name]
            for name, native in self.inputs.items()
        }

    def result(self, name: str, value: NDArray[Any]) -> NDArray[Any]:
        """An output as clients see it."""
        return value.astype(self.casts_out[name], copy=False) if name in self.casts_out else value

    def portions(self, inputs: Mapping[str, NDArray[Any]]) -> list[dict[str, NDArray[Any]]]:
        """Inputs in portions of `rows` examples, the last one filled up with its last example; at least one portion."""
        count = max(1, *(len(value) for value in inputs.values()))
        found = []
        for begin in range(0, count, self.rows):
            part = {name: value[begin : begin + self.rows] for name, value in inputs.items()}
            found.append({name: _filled(value, self.rows) for name, value in part.items()})
        return found

    def joined(self, portions: Sequence[Sequence[NDArray[Any]]], count: int) -> list[NDArray[Any]]:
        """Outputs of all portions, each with `count` examples."""
        return [np.concatenate(values)[:count] for values in zip(*portions, strict=True)]


def _filled(value: NDArray[Any], rows: int) -> NDArray[Any]:
    missing = rows - len(value)
    if missing == 0:
        return value
    last = value[-1:] if len(value) else np.zeros((1, *value.shape[1:]), value.dtype)
    return np.concatenate([value, np.repeat(last, missing, axis=0)])


def bind(
    natives: Mapping[str, Signature], overrides: Sequence[SignatureOverride], *, base: str | None = None
) -> dict[str, Binding]:
    """Bind the model's own signatures and those that `model.toml` overrides or adds.

    Args:
        natives: the model's own.
        overrides: from `model.toml`.
        base: the own signature that added ones stand on; None allows no others than the model's own.

    Raises:
        ModelConfigError: an override does not fit the model.
    """
    bindings = {name: _bind(name, signature, SignatureOverride(name)) for name, signature in natives.items()}
    for override in overrides:
        native = override.name if override.name in natives else base
        if native is None:
            raise ModelConfigError(
                f"{FILE_NAME}: signatures.{override.name}: the model has no such signature, "
                f"expected one of {_names(natives)}"
            )
        bindings[override.name] = _bind(native, natives[native], override)
    return bindings


def _bind(native: str, signature: Signature, override: SignatureOverride) -> Binding:
    where = f"signatures.{override.name}"
    inputs = _tensors(f"{where}.inputs", signature.inputs, override.inputs)
    outputs = _tensors(f"{where}.outputs", signature.outputs, override.outputs)
    rows = _rows(where, inputs)
    outputs = [(_any_number(spec) if rows and (own.shape or ())[:1] == (rows,) else spec, own) for spec, own in outputs]
    if rows and not all((own.shape or ())[:1] == (rows,) for _, own in outputs):
        raise ModelConfigError(
            f"{FILE_NAME}: {where}.outputs: expected a first length of {rows} in each, as the inputs that are batched have it; "
            f"the model has {[list(own.shape or ()) for _, own in outputs]}"
        )
    fed = {own.name for _, own in inputs}
    missing = [spec.name for spec in signature.inputs if spec.name not in fed]
    if missing or len(fed) != len(inputs):
        raise ModelConfigError(
            f"{FILE_NAME}: {where}.inputs: expected each of the model's inputs once: {_names(fed.union(missing))}"
        )
    casts_in = {spec.name: numpy_dtype(own.dtype) for spec, own in inputs if spec.dtype is not own.dtype}
    casts_out = {spec.name: numpy_dtype(spec.dtype) for spec, own in outputs if spec.dtype is not own.dtype}
    return Binding(
        signature=Signature(
            name=override.name,
            inputs=tuple(spec for spec, _ in inputs),
            outputs=tuple(spec for spec, _ in outputs),
            method=override.method or signature.method,
        ),
        native=native,
        inputs={spec.name: own.name for spec, own in inputs},
        outputs={spec.name: own.name for spec, own in outputs},
        casts_in=casts_in,
        casts_out=casts_out,
        direct=not casts_in
        and not casts_out
        and not rows
        and all(spec.name == own.name for spec, own in (*inputs, *outputs)),
        rows=rows,
    )


def _tensors(
    where: str, natives: tuple[TensorSpec, ...], overrides: tuple[TensorOverride, ...]
) -> list[tuple[TensorSpec, TensorSpec]]:
    """Pairs of what clients see and what the model has."""
    if not overrides:
        return [(spec, spec) for spec in natives]
    own = {spec.name: spec for spec in natives}
    pairs = []
    for override in overrides:
        name = override.tensor or override.name
        spec = own.get(name)
        if spec is None:
            key = f"{where}.{override.name}" + (".tensor" if override.tensor else "")
            raise ModelConfigError(f"{FILE_NAME}: {key}: found {name!r}, expected one of {_names(own)}")
        pairs.append((_override(f"{where}.{override.name}", spec, override), spec))
    return pairs


def _override(where: str, spec: TensorSpec, override: TensorOverride) -> TensorSpec:
    dtype = override.dtype or spec.dtype
    if (dtype is DType.STRING) != (spec.dtype is DType.STRING):
        raise ModelConfigError(
            f"{FILE_NAME}: {where}.dtype: found {dtype.value!r}, but strings and numbers are not converted into each "
            f"other; the model has {spec.dtype.value!r}"
        )
    shape = spec.shape if override.shape is None else override.shape
    if not narrows(shape, spec.shape):
        raise ModelConfigError(
            f"{FILE_NAME}: {where}.shape: found {list(shape or ())}, expected the model's {list(spec.shape or ())} "
            f"with lengths in place of -1"
        )
    batched = spec.batched if override.batched is None else override.batched
    if batched and shape == ():
        raise ModelConfigError(f"{FILE_NAME}: {where}.batched: found true, but a scalar has no dimension 0")
    found = replace(spec, name=override.name, dtype=dtype, shape=shape, batched=batched)
    fixed = shape is not None and shape[:1] > (0,) and override.shape is None
    return _any_number(found) if override.batched and fixed else found


def _any_number(spec: TensorSpec) -> TensorSpec:
    """As clients see a tensor that the model takes in portions of a fixed number of examples."""
    return replace(spec, shape=(-1, *(spec.shape or ())[1:]), batched=True)


def _rows(where: str, inputs: Sequence[tuple[TensorSpec, TensorSpec]]) -> int:
    """The number of examples that the model takes at once where `batched` frees it; 0 where nothing is freed."""
    freed = [own.shape[0] for spec, own in inputs if own.shape and own.shape[0] > 0 and (spec.shape or ())[:1] == (-1,)]
    if not freed:
        return 0
    if len(freed) < len(inputs) or len(set(freed)) > 1:
        raise ModelConfigError(
            f"{FILE_NAME}: {where}.inputs: expected batched = true for all of them, with the same first length; the model has "
            f"{[list(own.shape or ()) for _, own in inputs]}"
        )
    return freed[0]


def narrows(shape: tuple[int, ...] | None, own: tuple[int, ...] | None) -> bool:
    """Whether every value of `shape` is one of `own`."""
    if own is None:
        return True
    return (
        shape is not None
        and len(shape) == len(own)
        and all(allowed in (-1, length) for length, allowed in zip(shape, own, strict=True))
    )


def _names(names: Mapping[str, object] | set[str]) -> str:
    return ", ".join(repr(name) for name in sorted(names))
