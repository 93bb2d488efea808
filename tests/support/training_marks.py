"""What modules of tests that train with TensorFlow are marked with."""

from importlib.util import find_spec
from typing import Final

import pytest

TRAINING: Final = [
    pytest.mark.tensorflow,
    # Importing it takes seconds, which whoever runs none of these tests need not spend.
    pytest.mark.skipif(find_spec("tensorflow") is None, reason="needs the `tensorflow` extra"),
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
"""For `pytestmark`."""
