"""What capture costs a gateway: processor time a request, and latency.

Gateways that differ in `[capture]` alone stand side by side in front of one site. They are asked in turn, a short time each and in another
order each round, so that what the machine does besides meets all of them. One of them is there twice, which shows what the machine alone
makes of a ratio.
"""
