"""What one client may cost the HTTP server, in bytes and in seconds."""

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """Bounds on what one client may cost.

    Timeouts are checked by one sweep over all connections, so they hold to within `sweep_interval_s`.

    Attributes:
        max_connections: open at once; one more is answered 503 and closed.
        max_request_line_bytes: method, target and version; over it is 414.
        max_head_bytes: request line and header fields together; over it is 431.
        max_header_count: header fields; over it is 431.
        max_body_bytes: over it is 413, at once when Content-Length says so.
        stream_over_bytes: a longer body is handed to the handler piece by piece (`HttpExchange.incoming`); only for handlers
            that know of it, so never unless it is set.
        max_held_body_bytes: memory for the bodies of all connections together, from their arrival to their answer; a
            request that would go over it is 503.
        direct_body_bytes: a body longer than this that has not fully arrived is received straight into its own buffer.
        body_step_bytes: first allocation for such a body; later steps double what has arrived, so that an announced
            length costs nothing until it is sent.
        max_backlog_bytes: bytes of pipelined requests kept while one is in flight; beyond it reading pauses.
        header_timeout_s: from the first byte of a head (or the connection) to its end; over it is 408.
        body_stall_timeout_s: no byte of a body in this time is 408.
        body_grace_s, min_body_rate_bytes_per_s: a body may take grace + arrived / rate; longer is 408.
        idle_timeout_s: a kept-alive connection without a request is closed after this.
        write_high_water_bytes: unsent answer bytes beyond which no further request of that connection is begun.
        write_stall_timeout_s: a client that takes no byte of an answer in this time is cut off.
        linger_timeout_s, max_linger_bytes: after an error answer, input is read and dropped this long and this much, so
            that a client still sending reads the answer instead of a reset.
        half_close_probe_s: a client that ends its sending side while its request is in flight is asked after this
            whether it still listens (with an interim `100 Continue`, which every HTTP/1.1 client skips).
        sweep_interval_s: how often timeouts are checked.
    """

    max_connections: int = 4096
    max_request_line_bytes: int = 8 * 1024
    max_head_bytes: int = 32 * 1024
    max_header_count: int = 100
    max_body_bytes: int = 128 * 1024 * 1024
    stream_over_bytes: int = 1 << 62
    max_held_body_bytes: int = 1024 * 1024 * 1024
    direct_body_bytes: int = 16 * 1024
    body_step_bytes: int = 1024 * 1024
    max_backlog_bytes: int = 64 * 1024
    header_timeout_s: float = 10.0
    body_stall_timeout_s: float = 15.0
    body_grace_s: float = 30.0
    min_body_rate_bytes_per_s: float = 1024.0
    idle_timeout_s: float = 75.0
    write_high_water_bytes: int = 256 * 1024
    write_stall_timeout_s: float = 20.0
    linger_timeout_s: float = 2.0
    max_linger_bytes: int = 64 * 1024 * 1024
    half_close_probe_s: float = 0.02
    sweep_interval_s: float = 0.5

    def __post_init__(self) -> None:
        """Check.

        Raises: ValueError: a limit is not positive.
        """
        for field in fields(self):
            if getattr(self, field.name) <= 0:
                raise ValueError(f"{field.name} is {getattr(self, field.name)}; it has to be greater than 0")
