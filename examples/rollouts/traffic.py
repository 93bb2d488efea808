"""Asks the sites of `edgewise up` what is on a photograph, over and over, and says each second which versions answered.

A rollout needs traffic: without requests nothing is known of the new version. Ends with Ctrl-C, and with exit code 1 if a request failed.
"""

import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from edgewise.client import Client
from edgewise.core.errors import EdgewiseError, ResourceExhaustedError

PHOTOGRAPH = Path(__file__).resolve().parents[1] / "images" / "cat.jpg"
GATEWAY = "http://127.0.0.1:8080"
SITES = ("cloud", "edge", "shop")


@dataclass(slots=True)
class App:
    """One app, which asks one request after another.

    Attributes:
        url: who is asked.
        route: what the gateway is told; None where there is no gateway.
        per_s: at most so many requests each second.
        answered: by site and version.
        refused: for how many the sites were too busy, and said so; that is no fault of a version.
        failed: how many had no answer otherwise.
    """

    url: str
    route: str | None
    per_s: float
    answered: Counter[tuple[str, int | None]] = field(default_factory=Counter)
    refused: int = 0
    failed: int = 0

    def ask_until(self, stopped: threading.Event) -> None:
        """Ask."""
        with Client(self.url, timeout_s=10.0) as client:
            while not stopped.is_set():
                began_s = time.monotonic()
                self._ask(client)
                stopped.wait(began_s + 1.0 / self.per_s - time.monotonic())

    def _ask(self, client: Client) -> None:
        try:
            answer = client.predict("pets", PHOTOGRAPH, route=self.route)
        except ResourceExhaustedError:
            self.refused += 1
        except EdgewiseError as error:
            self.failed += 1
            print(f"{self.url}: {error.message}", file=sys.stderr, flush=True)
        else:
            self.answered[answer.site, answer.version] += 1


def lines(apps: list[App]) -> Iterator[str]:
    """What has come since the last line, by site and version."""
    before: Counter[tuple[str, int | None]] = Counter()
    while True:
        # Of copies, since the apps go on counting.
        after = sum((app.answered.copy() for app in apps), Counter())
        news = after - before
        before = after
        cells = []
        for site in SITES:
            versions = [f"v{version} {count}" for (name, version), count in sorted(news.items()) if name == site]
            cells.append(f"{site} {', '.join(versions) or '-'}".ljust(20))
        yield f"{time.strftime('%H:%M:%S')}  {'  '.join(cells).rstrip()}"


def main() -> int:
    """Ask until Ctrl-C.

    Returns: the exit code; 1 when a request failed.
    """
    apps = [
        App(GATEWAY, "prefer-cloud", 15.0),
        App(GATEWAY, "prefer-edge", 50.0),
        App("http://127.0.0.1:8531", None, 5.0),
    ]
    stopped = threading.Event()
    threads = [threading.Thread(target=app.ask_until, args=(stopped,)) for app in apps]
    for thread in threads:
        thread.start()
    try:
        told = lines(apps)
        next(told)
        while not stopped.wait(1.0):
            print(next(told), flush=True)
    except KeyboardInterrupt:
        print()
    finally:
        stopped.set()
        for thread in threads:
            thread.join()
    answered = sum(app.answered.total() for app in apps)
    refused = sum(app.refused for app in apps)
    failed = sum(app.failed for app in apps)
    print(f"{answered + refused + failed} asked, {answered} answered, {refused} refused, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
