"""A master and two workers."""

import pytest


@pytest.fixture
def start_distributed(start_locust, free_port):
    """A function that starts them; the master first."""

    def start(*words, workers=2):
        place = ("--master-port", free_port, "--master-host", "127.0.0.1")
        first = ("--master", "--expect-workers", workers, "--master-bind-host", "127.0.0.1", "--headless")
        master = start_locust("rest_json", *first, "--master-bind-port", free_port, *words)
        more = [start_locust("rest_json", "--worker", *place, csv_files=False) for _ in range(workers)]
        return master, more

    return start


@pytest.mark.parametrize("engine", ["closed", "open"])
def test_the_workers_counts_add_up(start_distributed, serving, answered, engine):
    before = answered("tfs-rest", "tiny")
    words = ("--host", serving.rest_url, "--model", "tiny", "-u", 4, "-r", 4, "-t", "3s", "--engine", engine)
    master, workers = start_distributed(*words, "--rate", 40, "--arrivals", "constant")
    assert master.end() == 0, master.text
    for worker in workers:
        assert worker.end() == 0, worker.text
    requests = int(master.rows()["rest-json tiny"]["Request Count"])
    asked = answered("tfs-rest", "tiny") - before
    # Users of the closed loop are cut short in what they ask last.
    assert (asked == requests) if engine == "open" else (0 <= asked - requests <= 4)
    assert int(master.engines()[engine]["requests"]) == requests
    assert master.failures() == {}
    # One worker alone has half of the rate.
    assert requests > 40 * 3 / 2
    if engine == "open":
        assert all(worker.text.count("Traceback") == 0 for worker in workers)


def test_a_worker_that_cannot_ask_ends_the_test(start_distributed, serving):
    words = ("--host", serving.rest_url, "--model", "nope", "-u", 2, "-r", 2, "-t", "60s", "--engine", "open")
    master, workers = start_distributed(*words)
    assert master.end() == 1, master.text
    for worker in workers:
        assert worker.end() in {0, 1}, worker.text
    assert "describes no model 'nope'" in master.text
    assert any("describes no model 'nope'" in text for text in master.failures())
