"""`make bench-capture`: see the package bench_capture beside this file."""

import sys

from bench_capture.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
