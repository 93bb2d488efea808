"""Fetching from a web server that does what web servers and networks do."""

import contextlib
import socket
import threading

import pytest

from edgewise.agent.fetching.port import TimeLimits
from edgewise.core.errors import (
    DeadlineExceededError,
    EdgewiseError,
    FailedPreconditionError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
)
from support.certificates import Authority


@pytest.fixture
def url(web, version):
    web.content = version.archive
    return f"{web.url}/pets-1.tar.gz"


@pytest.fixture
def arrives(fetches, version, tools, url):
    def arrives():
        fetched = fetches(url, version.sha256)
        assert fetched.digest == version.sha256
        assert tools.files_in(fetches.directory) == version.files

    return arrives


@pytest.fixture
def fails(fetches, version, url):
    def fails(error, *words, **options):
        with pytest.raises(error) as caught:
            fetches(url, version.sha256, **options)
        for word in words:
            assert word in caught.value.message
        fetches.nothing_is_left()

    return fails


def test_a_whole_answer(web, arrives):
    arrives()
    assert len(web.asked) == 1
    assert web.asked[0].headers["Accept-Encoding"] == "identity"


def test_a_cut_is_resumed_where_it_was(web, step, arrives, version):
    web.steps = [step(cut_after_bytes=200_000), step(cut_after_bytes=50_000)]
    arrives()
    assert [asked.headers.get("Range") for asked in web.asked] == [None, "bytes=200000-", "bytes=250000-"]
    assert web.asked[1].headers["If-Range"].startswith('"')


def test_a_server_that_ignores_the_range_sends_all_anew(web, step, arrives):
    web.steps = [step(cut_after_bytes=200_000), step(ignore_range=True)]
    arrives()


def test_a_server_without_validators_is_asked_for_all_anew(web, step, arrives):
    web.etag = False
    web.steps = [step(cut_after_bytes=200_000)]
    arrives()
    assert "Range" not in web.asked[1].headers


def test_a_date_that_is_long_past_is_a_validator(web, step, arrives):
    web.etag = False
    modified = "Thu, 01 Jan 2015 00:00:00 GMT"
    web.steps = [step(cut_after_bytes=1000, headers={"Last-Modified": modified}), step(ignore_range=True)]
    arrives()
    assert web.asked[1].headers["If-Range"] == modified


def test_a_file_that_changes_meanwhile_is_never_mixed(web, step, arrives, version):
    other = bytes(len(version.archive))
    web.content = other
    web.steps = [step(cut_after_bytes=200_000), step(content=version.archive)]
    arrives()
    assert "Range" in web.asked[1].headers


def test_another_part_than_was_asked_for_is_not_taken(web, step, arrives):
    web.steps = [step(cut_after_bytes=200_000), step(wrong_range=True)]
    arrives()
    assert "Range" not in web.asked[2].headers


def test_a_file_that_became_shorter_is_fetched_anew(web, step, arrives):
    web.steps = [step(cut_after_bytes=200_000), step(status=416)]
    arrives()


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(web, step, arrives, status):
    web.steps = [step(status=status), step(status=status)]
    arrives()
    assert len(web.asked) == 3


def test_it_gives_up_on_a_server_that_stays_busy(web, step, fails):
    web.steps = [step(status=503)] * 10
    fails(UnavailableError, "the server answered 503 Service Unavailable", "4 times in a row")
    assert len(web.asked) == 4


def test_a_try_that_brought_something_is_no_failure_in_a_row(web, step, arrives, version, monkeypatch):
    monkeypatch.setattr("edgewise.agent.fetching.transfer.WORTHWHILE_BYTES", 10_000)
    web.steps = [step(cut_after_bytes=20_000)] * 12
    arrives()


def test_cuts_that_bring_nothing_end(web, step, fails):
    web.steps = [step(cut_after_bytes=100)] * 10
    fails(UnavailableError, "the connection was cut after", "4 times in a row")


def test_retry_after_is_waited_for(web, step, arrives, fetches):
    web.steps = [step(status=503, headers={"Retry-After": "1"})]
    arrives()
    assert any("trying again in 1.0 s" in line for line in fetches.said)


def test_retry_after_beyond_reason_is_not_waited_for(web, step, fails):
    web.steps = [step(status=503, headers={"Retry-After": "86400"})]
    fails(UnavailableError, "come back in 86400 s")


def test_a_stall_is_a_cut(web, step, fetches, url, version, tools):
    web.steps = [step(stall_after_bytes=200_000)]
    fetches(url, version.sha256, limits=TimeLimits(5.0, 0.2))
    assert tools.files_in(fetches.directory) == version.files
    assert any("kept silent for too long" in line for line in fetches.said)
    assert web.asked[1].headers["Range"] == "bytes=200000-"


def test_a_server_that_never_answers_ends_in_time(web, step, fails):
    web.steps = [step(stall_after_bytes=0)] * 9
    fails(UnavailableError, "kept silent for too long", limits=TimeLimits(5.0, 0.05))


def test_the_time_for_all_of_it_is_bounded(web, step, fails):
    web.steps = [step(stall_after_bytes=100)] * 99
    fails(DeadlineExceededError, "--timeout", limits=TimeLimits(5.0, 0.1), timeout_s=0.15)


def test_chunked_answers_and_their_cuts(web, step, arrives):
    web.steps = [step(chunked=True, cut_after_bytes=1000), step(chunked=True)]
    arrives()
    assert len(web.asked) == 2


def test_an_answer_without_a_length_that_is_cut_is_caught_by_its_checksum(web, step, fails):
    web.steps = [step(unsized=True, cut_after_bytes=1000)]
    fails(FailedPreconditionError, "wrong checksum")


@pytest.mark.parametrize(
    ("status", "error", "message"),
    [
        (404, NotFoundError, "404 Not Found; is the path right?"),
        (401, PermissionDeniedError, "credentials"),
        (403, PermissionDeniedError, "signed URL expired"),
        (400, FailedPreconditionError, "400 Bad Request; expected 200"),
        (204, FailedPreconditionError, "204 No Content; expected 200"),
    ],
)
def test_answers_that_no_retry_betters(web, step, fails, status, error, message):
    web.steps = [step(status=status)]
    fails(error, message)
    assert len(web.asked) == 1


def test_redirects_are_followed_without_the_password(web, start_web, step, fetches, version, tools):
    far = start_web()
    far.content = version.archive
    web.steps = [
        step(status=302, headers={"Location": "/second"}),
        step(status=307, headers={"Location": f"{far.url}/x"}),
    ]
    fetches(web.url.replace("//", "//user:pass%40word@") + "/pets", version.sha256)
    assert tools.files_in(fetches.directory) == version.files
    assert [asked.path for asked in (*web.asked, *far.asked)] == ["/pets", "/second", "/x"]
    assert web.asked[0].headers["Authorization"] == "Basic dXNlcjpwYXNzQHdvcmQ="
    assert "Authorization" not in far.asked[0].headers
    assert "pass" not in "".join(fetches.said) + (fetches.directory.parent / ".1.fetch/record.json").read_text()


def test_a_redirected_download_resumes_too(web, start_web, step, fetches, version, tools):
    far = start_web()
    far.content = version.archive
    web.steps = [step(status=302, headers={"Location": f"{far.url}/x"})] * 2
    far.steps = [step(cut_after_bytes=1000)]
    fetches(f"{web.url}/pets", version.sha256)
    assert far.asked[1].headers["Range"] == "bytes=1000-"
    assert tools.files_in(fetches.directory) == version.files


def test_circles_of_redirects_end(web, step, fails):
    web.steps = [step(status=302, headers={"Location": "/pets-1.tar.gz"})] * 30
    fails(FailedPreconditionError, "redirects more than 10 times")


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://host/x", ""])
def test_redirects_leave_http_never(web, step, fails, target):
    web.steps = [step(status=302, headers={"Location": target} if target else {})]
    fails(FailedPreconditionError, "redirects to what is no http(s) URL")


def test_a_wrong_checksum_says_both_and_how_to_compute_it(web, fails, version, tools):
    web.content = b"something else"
    fails(
        FailedPreconditionError,
        f"has the SHA-256 {tools.sha256(b'something else')}",
        f"expected {version.sha256}",
        "`edgewise fetch --digest PATH` computes it",
    )


def test_a_login_page_is_told_from_a_model(web, fails):
    web.content = b"<!DOCTYPE html><title>Log in</title>"
    fails(FailedPreconditionError, "wrong checksum", "It looks like a web page")


def test_a_file_larger_than_is_taken(web, step, fails):
    fails(FailedPreconditionError, "1.0 kB is the most", max_bytes=1000)
    web.steps = [step(unsized=True)]
    fails(FailedPreconditionError, "1.0 kB is the most", max_bytes=1000)


def test_no_room_is_known_before_the_first_byte(web, fails, monkeypatch):
    import os
    from types import SimpleNamespace

    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=1, f_frsize=4096))
    from edgewise.core.errors import ResourceExhaustedError

    fails(ResourceExhaustedError, "4.1 kB free", "are needed")


def test_a_model_alone_is_called_as_servers_look_for_it(web, fetches, tools):
    web.content = tools.onnx
    fetches(f"{web.url}/downloads/pets%20v1.onnx?token=1", tools.sha256(tools.onnx))
    assert tools.files_in(fetches.directory) == {"model.onnx": tools.onnx}
    fetches(f"{web.url}/download", tools.sha256(tools.onnx), to=fetches.directory.with_name("2"))
    assert tools.files_in(fetches.directory.with_name("2")) == {"model.onnx": tools.onnx}


def test_what_is_no_model_says_so(web, fetches, tools):
    web.content = b"a text"
    with pytest.raises(FailedPreconditionError, match="neither an archive nor a model"):
        fetches(f"{web.url}/readme.txt", tools.sha256(b"a text"))
    fetches.nothing_is_left()


def test_nobody_listens(web, fails):
    web.stop()
    fails(UnavailableError, "Connection refused", "4 times in a row")


def test_tls_is_checked(tmp_path, start_web, fetches, version, tools):
    authority = Authority(tmp_path, "authority")
    web = start_web(tls=authority.leaf("server"))
    web.content = version.archive
    url = f"{web.url}/pets.tar.gz"
    with pytest.raises(UnavailableError) as caught:
        fetches(url, version.sha256)
    assert "the server's certificate is not trusted" in caught.value.message
    assert "--ca FILE" in caught.value.message
    assert fetches.said == []
    fetches(url, version.sha256, ca=authority.certificate)
    assert tools.files_in(fetches.directory) == version.files


def test_from_https_to_http_is_no_way(tmp_path, start_web, step, fetches, version):
    authority = Authority(tmp_path, "authority")
    web = start_web(tls=authority.leaf("server"))
    web.steps = [step(status=301, headers={"Location": "http://127.0.0.1:1/x"})]
    with pytest.raises(FailedPreconditionError, match="anyone on the way could change"):
        fetches(f"{web.url}/pets", version.sha256, ca=authority.certificate)
    fetches.nothing_is_left()


NASTY = [
    b"",
    b"\0" * 1000,
    b"HTTP/1.1 abc\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\nx",
    b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nx",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 100 + b"\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"".join(b"a%d: b\r\n" % number for number in range(500)) + b"\r\n",
    b"HTTP/1.1 200 OK\r\nA: " + b"a" * 100_000 + b"\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: http://[\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: http://a:b:c/\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: http://\xc3\xa4 x/\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: http:///x\r\n\r\n",
    b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-1/2\r\n\r\nxx",
    b"HTTP/1.1 503 Busy\r\nRetry-After: " + b"9" * 5000 + b"\r\n\r\n",
    b"HTTP/1.1 503 Busy\r\nRetry-After: Mon, 99 Foo 99999 99:99:99 GMT\r\n\r\n",
]


@pytest.mark.parametrize("answer", NASTY, ids=lambda answer: repr(answer[:40]))
def test_servers_that_speak_something_else(answer, fetches):
    def serve(listener):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        try:
            with pytest.raises(EdgewiseError) as caught:
                fetches(f"http://127.0.0.1:{listener.getsockname()[1]}/pets", "00" * 32, limits=TimeLimits(1.0, 1.0))
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)
    assert caught.value.message.isprintable()
    fetches.nothing_is_left()
