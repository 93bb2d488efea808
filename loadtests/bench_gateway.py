"""`make bench-gateway`: see the package bench_gateway beside this file."""

import sys

from bench_gateway.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
