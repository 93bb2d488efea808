"""What capture costs a gateway: processor time a request, and latency.

Gateways that differ in `[capture]` alone share one core in front of one site. One that captures is asked at the same time as two that do
not: what the machine does besides meets all three, and what the two differ by is what a difference is worth. They are started anew every
few rounds, since where a process has its memory makes it quicker or slower for as long as it lives.
"""
