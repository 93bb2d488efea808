"""Schemathesis asks all that the OpenAPI document describes, good and bad, with an administrator's token. Deterministic and bounded."""

import io
import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from PIL import Image

from support.control_world import QUIET

EXAMPLES = 15
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
)
CONFIG = """
[parameters]
"path.site" = "described"
"path.name" = "described"
"path.model" = "pets"
"path.version" = 1
"path.file" = "timestamp.json"
"query.wait_s" = 0
"path.sample" = "SAMPLE"

[checks.negative_data_rejection]
expected-statuses = ["4xx"]

[[operations]]
include-path = "/api/v1/sites/{site}/reports"
enabled = false

[[operations]]
include-path = "/api/v1/sites/{site}/segments/{name}"
enabled = false

[[operations]]
include-path = "/api/v1/sites/{site}/retire"
enabled = false

[[operations]]
include-path = "/api/v1/samples/{sample}"
include-method = "DELETE"
enabled = false
"""


def png():
    file = io.BytesIO()
    Image.new("RGB", (8, 6)).save(file, "PNG")
    return file.getvalue()


def test_the_hub_does_what_the_document_says(world, tmp_path):
    world.publish(1)
    world.site("described", described="yes")
    text = f"model: pets\nversion: 1\nwaves: [{{name: all, sites: described=yes}}]\n{QUIET}"
    asked = {"specification": text, "format": "yaml", "name": "described", "start": True}
    world.operator.post("/api/v1/rollouts", json=asked).raise_for_status()
    sample = world.operator.post("/api/v1/samples", content=png()).raise_for_status().json()["id"]
    (tmp_path / "schemathesis.toml").write_text(CONFIG.replace("SAMPLE", sample))
    events = tmp_path / "events.ndjson"
    run = subprocess.run(
        [
            *(
                str(Path(sys.executable).with_name("schemathesis")),
                "--config-file",
                str(tmp_path / "schemathesis.toml"),
            ),
            *("run", f"{world.url}/openapi.json", "--no-color", "--no-shrink", "--continue-on-failure"),
            *("--header", f"Authorization: {world.admin.headers['authorization']}"),
            *("--generation-deterministic", "--max-examples", str(EXAMPLES), "--phases", "examples,coverage,fuzzing"),
            *("--workers", "1", "--checks", ",".join(CHECKS), "--request-timeout", "30", "--warnings", "off"),
            *("--report-ndjson-path", str(events)),
        ],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        cwd=tmp_path,
    )
    assert run.returncode == 0, run.stdout[-20_000:] + run.stderr
    statuses = defaultdict(set)
    for line in events.read_text().splitlines():
        recorder = json.loads(line).get("ScenarioFinished", {}).get("recorder", {})
        for interaction in recorder.get("interactions", {}).values():
            if interaction["response"] is not None:
                statuses[recorder["label"]].add(interaction["response"]["status_code"])
    without_success = {label for label, seen in statuses.items() if not seen & {200, 201}}
    # What only signatures, secrets, digests and pictures open.
    assert without_success <= {
        "POST /api/v1/enroll",
        "POST /api/v1/metadata/root",
        "POST /api/v1/metadata/targets",
        "PUT /api/v1/targets/{path}",
        "GET /tuf/targets/{path}",
        "PUT /blobs/sha256/{sha256}",
        "GET /blobs/sha256/{sha256}",
        "HEAD /blobs/sha256/{sha256}",
        "POST /api/v1/rollouts/plan",
        "POST /api/v1/rollouts/{name}/{verb}",
        "DELETE /api/v1/tokens/{name}",
        "POST /api/v1/rollouts",
        "POST /api/v1/samples",
    }
    assert len(statuses) > 25
