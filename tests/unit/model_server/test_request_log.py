"""The request log: whole lines in order, and no request that waits for who reads them."""

import io
import json
import threading

from edgewise.model_server.request_log import RequestLog
from edgewise.net import line_log


def write(log, request_id):
    log.write(
        protocol="tfs-rest",
        method="Predict",
        model="tiny",
        version=2,
        code="OK",
        seconds=0.0125,
        queue_s=0.001,
        compute_s=0.01,
        request_id=request_id,
        peer="127.0.0.1:9",
    )


class Sink(io.StringIO):
    """Blocks writers until it is opened."""

    def __init__(self):
        super().__init__()
        self.writing = threading.Event()
        self.opened = threading.Event()

    def write(self, text):
        self.writing.set()
        assert self.opened.wait(20)
        return super().write(text)

    def lines(self):
        return [json.loads(line) for line in self.getvalue().splitlines()]


def test_lines_in_order():
    sink = io.StringIO()
    log = RequestLog(sink)
    for number in range(1000):
        write(log, f"r-{number}")
    log.close()
    lines = [json.loads(line) for line in sink.getvalue().splitlines()]
    assert [line["request_id"] for line in lines] == [f"r-{number}" for number in range(1000)]
    assert lines[0] | {"time": ""} == {
        "time": "",
        "protocol": "tfs-rest",
        "method": "Predict",
        "model": "tiny",
        "version": 2,
        "code": "OK",
        "ms": 12.5,
        "queue_ms": 1.0,
        "compute_ms": 10.0,
        "request_id": "r-0",
        "peer": "127.0.0.1:9",
    }
    write(log, "late")
    assert "late" not in sink.getvalue()


def test_off_writes_nothing():
    sink = io.StringIO()
    log = RequestLog(sink, enabled=False)
    write(log, "r")
    log.close()
    assert sink.getvalue() == ""


def test_a_reader_that_does_not_read_holds_nobody_up(monkeypatch):
    monkeypatch.setattr(line_log, "MAX_WAITING", 3)
    sink = Sink()
    log = RequestLog(sink)
    write(log, "first")
    assert sink.writing.wait(20)
    for number in range(8):
        write(log, f"r-{number}")
    sink.opened.set()
    while not log._waiting.empty():
        pass
    write(log, "after")
    log.close()
    lines = sink.lines()
    assert [line["request_id"] for line in lines] == ["first", "r-0", "r-1", "r-2", "after"]
    assert [line.get("lost") for line in lines] == [None, None, None, None, 5]


def test_a_sink_that_is_gone_turns_the_log_off(caplog):
    sink = io.StringIO()
    sink.close()
    log = RequestLog(sink)
    write(log, "first")
    log._thread.join(20)
    assert not log.enabled
    assert "cannot be written" in caplog.text
    write(log, "second")
    log.close()
