"""`python loadtests/bench_hub.py [--sites 1000]`: see the package bench_hub beside this file."""

import sys

from bench_hub.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
