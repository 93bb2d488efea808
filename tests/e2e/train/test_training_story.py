"""A training is killed, goes on, becomes a version, and the version answers: every command as it is typed."""

import csv
import json
import os
import shlex
import signal
import subprocess
import sys
import urllib.request
from base64 import b64encode
from io import StringIO

from edgewise.cli import main
from support.drawn_dataset import write_dataset
from support.training_marks import TRAINING
from support.waiting import wait_for

pytestmark = TRAINING

EPOCHS = 20
SPEC = f"""\
dataset = "drawn"
network = "efficientnet-lite0"
weights = "imagenet"
size = 96
batch_size = 8
[early_stopping]
patience = 0
[[stage]]
epochs = {EPOCHS}
learning_rate = 0.003
schedule = "cosine"
warmup = 1
"""


def epochs(out):
    path = out / "metrics.csv"
    return list(csv.DictReader(StringIO(path.read_text()))) if path.is_file() else []


def test_head_is_trained_through_a_kill_exported_and_served(tmp_path, start_server, capsys):
    dataset = write_dataset(tmp_path / "drawn")
    spec, out = tmp_path / "pets.toml", tmp_path / "run"
    spec.write_text(SPEC)
    words = ["train", "run", str(spec), "--out", str(out)]
    process = subprocess.Popen(
        [sys.executable, "-m", "edgewise", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ
    )
    try:
        wait_for(lambda: len(epochs(out)) >= 2 or process.poll() is not None, timeout_s=150)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        assert process.wait() == -signal.SIGKILL
    kept = epochs(out)
    assert 2 <= len(kept) < EPOCHS

    assert main(words) == 1
    assert "holds a training that is running; go on with --resume" in capsys.readouterr().err
    assert main([*words, "--resume"]) == 0
    said = capsys.readouterr()
    assert f"report: {out}/report.html" in said.out
    done = epochs(out)
    # A checkpoint and its line are two files: the kill may have come between them.
    assert done[: len(kept)] == kept
    assert [int(row["epoch"]) for row in done] == list(range(1, EPOCHS + 1))
    assert json.loads((out / "run.json").read_text())["test"]["accuracy"] > 0.8
    assert (out / "plots" / "confusion.png").read_bytes().startswith(b"\x89PNG")

    assert main(["train", "export", str(out), "--out", str(tmp_path / "made"), "--version", "3"]) == 0
    command = shlex.split(capsys.readouterr().out.splitlines()[-1])
    assert command[:5] == ["edgewise", "release", "create", "pets", "3"]
    assert f"dataset={dataset.digest}" in command

    server = start_server("--repository", str(tmp_path / "made" / "edge"))
    image = next(image for image in dataset.images if image.split == "test" and image.label == "dog")
    content = b64encode((tmp_path / "drawn" / image.file).read_bytes()).decode()
    body = json.dumps({"signature_name": "image", "instances": [{"b64": content}]}).encode()
    url = f"{server.rest_url}/v1/models/pets/versions/3:predict"
    with urllib.request.urlopen(urllib.request.Request(url, body), timeout=20) as answer:
        (row,) = json.loads(answer.read())["predictions"]
    assert row["verdict"] == "dog"
    assert set(row["labels"]) == {"cat", "dog", "other"}
