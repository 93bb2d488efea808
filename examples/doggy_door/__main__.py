"""`python examples/doggy_door`."""

import sys
from pathlib import Path

# Python put this folder on its path; the package is the folder.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from doggy_door.program import main  # noqa: E402 - found only now

sys.exit(main())
