"""One endpoint of a few lines, as a process that can be killed: prints its port, and answers until then.

Predictions of the model `held` wait for a GET of /release. A GET of /asked tells how many predictions came.
"""

import http.server
import json
import threading
import time

asked = []
released = threading.Event()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body leave as one.
    wbufsize = -1

    def do_GET(self):
        if self.path == "/release":
            released.set()
        self.say(200, {"asked": len(asked)})

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"] or 0))
        if ":predict" not in self.path:
            self.say(404, {"error": "no such path"})
            return
        asked.append(self.path)
        if "/held:" in self.path:
            released.wait()
        else:
            time.sleep(0.005)
        self.say(200, {"predictions": [1]})

    def say(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.send_header("x-endpoint", str(self.server.server_address[1]))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_):
        pass


if __name__ == "__main__":
    server = Server(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever(0.05)
