"""The locustfiles' own modules, found as locust finds them. None that imports locust, which patches what it is imported into."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[3] / "loadtests" / "locustfiles"))
