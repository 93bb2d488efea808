"""One JSON line a request, when asked for."""

import time

from edgewise.net.line_log import LineLog


class RequestLog(LineLog):
    """Writes a line for each request that ended."""

    def write(
        self,
        *,
        protocol: str,
        method: str,
        model: str,
        version: int | None,
        code: str,
        seconds: float,
        queue_s: float,
        compute_s: float,
        request_id: str,
        peer: str,
    ) -> None:
        """Hand over one line: who asked for what, who answered, how it ended and where the time went."""
        if not self.enabled:
            return
        self.write_line(
            {
                "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "protocol": protocol,
                "method": method,
                "model": model,
                "version": version,
                "code": code,
                "ms": round(seconds * 1e3, 3),
                "queue_ms": round(queue_s * 1e3, 3),
                "compute_ms": round(compute_s * 1e3, 3),
                "request_id": request_id,
                "peer": peer,
            }
        )
