"""`make bench-failover`: see the package bench_failover beside this file."""

import sys

from bench_failover.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
