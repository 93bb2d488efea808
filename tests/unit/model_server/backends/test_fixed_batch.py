"""A model that takes a fixed number of examples at once answers any number, where model.toml says that they are examples."""

import numpy as np
import pytest

from edgewise.core.tensors import DType, Signature, TensorSpec
from edgewise.model_server.backends.binding import bind
from edgewise.model_server.config.model_config import SignatureOverride, TensorOverride
from edgewise.model_server.config.toml_table import ModelConfigError


def signature(rows=2, out=2, more=()):
    return Signature(
        "serving_default",
        (TensorSpec("x", DType.FLOAT32, (rows, 3)), *more),
        (TensorSpec("y", DType.FLOAT32, (out, 4)),),
    )


def bound(native, *names):
    inputs = tuple(TensorOverride(name, batched=True) for name in names)
    return bind({"serving_default": native}, [SignatureOverride("serving_default", inputs=inputs)])["serving_default"]


def test_without_a_word_the_number_stays_fixed():
    binding = bind({"serving_default": signature()}, [])["serving_default"]
    assert binding.rows == 0
    assert binding.signature.inputs[0].shape == (2, 3)


def test_clients_see_a_free_number_of_examples():
    binding = bound(signature(), "x")
    assert binding.rows == 2
    assert [(spec.shape, spec.batched) for spec in (*binding.signature.inputs, *binding.signature.outputs)] == [
        ((-1, 3), True),
        ((-1, 4), True),
    ]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7])
def test_portions_are_filled_up_and_put_together_again(count):
    binding = bound(signature(), "x")
    x = np.arange(count * 3, dtype=np.float32).reshape(count, 3)
    portions = binding.portions({"x": x})
    assert all(part["x"].shape == (2, 3) for part in portions)
    (joined,) = binding.joined([[part["x"]] for part in portions], count)
    np.testing.assert_array_equal(joined, x)


def test_an_output_that_counts_something_else_is_refused():
    with pytest.raises(ModelConfigError, match=r"serving_default\.outputs: expected a first length of 2 in each"):
        bound(signature(out=5), "x")


def test_all_inputs_have_to_count_the_same():
    other = TensorSpec("z", DType.FLOAT32, (3, 1))
    with pytest.raises(ModelConfigError, match="batched = true for all of them, with the same first length"):
        bound(signature(more=(other,)), "x", "z")
