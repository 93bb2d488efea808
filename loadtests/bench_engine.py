"""`python loadtests/bench_engine.py [--quick]`: see the package bench_engine beside this file."""

import sys

from bench_engine.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
