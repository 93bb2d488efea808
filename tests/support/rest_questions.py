"""Questions over REST as an app asks them, and what comes back."""

import http.client
import json
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from support.waiting import WAIT_S


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def site(self) -> str | None:
        return self.headers["x-edgewise-site"]


class RestQuestions:
    """Questions to one address, each on a connection of its own.

    Args:
        url: what paths come behind.
        tls: whom to trust, and who we are.
    """

    def __init__(self, url: str, tls: ssl.SSLContext | None = None) -> None:
        self.url = url
        self.tls = tls

    def rest(
        self, path: str, body: Any = None, *, method: str | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """What comes of one request; a body that is not bytes is sent as JSON."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", data=data, headers=headers or {}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=WAIT_S, context=self.tls) as answer:
                return Answer(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.headers, error.read())

    def metrics(self, headers: dict[str, str] | None = None) -> dict[str, float]:
        """Sums of the samples by name, and single samples as `name{label=value,...}`."""
        text = self.rest("/metrics", headers=headers).body.decode()
        found: dict[str, float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
                found[sample.name] = found.get(sample.name, 0.0) + sample.value
                found[f"{sample.name}{{{labels}}}"] = sample.value
        return found
