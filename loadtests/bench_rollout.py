"""`make bench-rollout`: see the package bench_rollout beside this file."""

import sys

from bench_rollout.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
