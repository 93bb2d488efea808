"""A Kubernetes API of our own, over real HTTP: lists and watches of one Service, and what goes wrong with them."""

import contextlib
import json
import queue
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import pytest

SLICES = "/apis/discovery.k8s.io/{}/namespaces/{}/endpointslices"
ENDPOINTS = "/api/v1/namespaces/{}/endpoints"
END, DROP = object(), object()


class FakeApi:
    """Serves what is in `objects`; `change` tells those who watch.

    Attributes:
        serves: kinds that there are: "v1", "v1beta1" (of EndpointSlice), "endpoints".
        refuses: kinds that the token may not see.
        watches_gone: so many watches are answered with 410; `a` is `after_gone` from then on.
        answer_with: (status, body) for everything, while it is set.
        asked: (path, parameters, authorization) of each request.
        watches: a queue for each watch that was begun, the newest last.
    """

    def __init__(self, namespace="edgewise"):
        self.serves = {"v1", "v1beta1", "endpoints"}
        self.refuses = set()
        self.answer_with = None
        self.watches_gone = 0
        self.after_gone = None
        self.objects = {}
        self.version = 100
        self.asked = queue.Queue()
        self.watches = queue.Queue()
        self._open = []
        paths = {SLICES.format(version, namespace): version for version in ("v1", "v1beta1")}
        paths[ENDPOINTS.format(namespace)] = "endpoints"
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                parts = urlsplit(self.path)
                words = dict(parse_qsl(parts.query))
                api.asked.put((parts.path, words, self.headers.get("authorization")))
                kind = paths.get(parts.path)
                if api.answer_with is not None:
                    self.say(*api.answer_with)
                elif kind in api.refuses:
                    message = f'{kind} is forbidden: User "system:serviceaccount:edgewise:gateway" cannot list resource'
                    self.say(403, json.dumps({"kind": "Status", "code": 403, "message": message}).encode())
                elif kind not in api.serves:
                    self.say(404, b"404 page not found\n")
                elif words.get("watch", "").lower() == "true":
                    if api.watches_gone:
                        api.watches_gone -= 1
                        api.put("a", api.after_gone)
                        self.say(410, b'{"kind":"Status","code":410,"message":"too old resource version"}')
                        return
                    self.watch()
                else:
                    items = list(api.objects.values())
                    metadata = {"resourceVersion": str(api.version)}
                    self.say(200, json.dumps({"metadata": metadata, "items": items}).encode())

            def say(self, status, body):
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def watch(self):
                events = queue.Queue()
                api._open.append(events)
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("transfer-encoding", "chunked")
                self.end_headers()
                self.wfile.flush()
                api.watches.put(events)
                with contextlib.suppress(OSError):
                    while (event := events.get()) is not END:
                        if event is DROP:
                            # In the middle of an event.
                            self.wfile.write(b'40\r\n{"type": "MODIFIED", "obj')
                            self.connection.shutdown(socket.SHUT_RDWR)
                            break
                        self.wfile.write(b"%x\r\n%b\r\n" % (len(event), event))
                    else:
                        self.wfile.write(b"0\r\n\r\n")
                api._open.remove(events)

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                """Clients go away as they like."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def put(self, name, one):
        """Have an object, without telling anybody."""
        self.version += 1
        one["metadata"] = {"name": name, "resourceVersion": str(self.version)}
        self.objects[name] = one
        return one

    def change(self, events, name, one=None):
        """Exchange or delete an object, and tell one watch."""
        if one is None:
            self.version += 1
            one = self.objects.pop(name)
            one["metadata"]["resourceVersion"] = str(self.version)
            self.tell(events, "DELETED", one)
        else:
            self.tell(events, "MODIFIED" if name in self.objects else "ADDED", self.put(name, one))

    def tell(self, events, kind, one):
        # In two pieces, as the network may bring it.
        line = json.dumps({"type": kind, "object": one}).encode() + b"\n"
        events.put(line[:10])
        events.put(line[10:])

    def gone(self, events):
        self.tell(events, "ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"})

    def close(self):
        for events in list(self._open):
            events.put(END)
        self._server.shutdown()
        self._server.server_close()


def kubeconfig(path, port, namespace="edgewise"):
    path.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
                "users": [{"name": "u", "user": {"token": "a-token"}}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": namespace}}],
                "current-context": "x",
            }
        )
    )
    return path


@pytest.fixture
def api(tmp_path, monkeypatch):
    pytest.importorskip("kubernetes")
    found = FakeApi()
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path / "kubeconfig", found.port)))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    yield found
    found.close()
