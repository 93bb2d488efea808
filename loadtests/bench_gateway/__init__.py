"""How much `edgewise gateway` costs, against Envoy, nginx, HAProxy, aiohttp as a proxy and a bare relay, in one run.

Every proxy has one core; the load generator and the sites behind the proxies share the other. One round asks every proxy
the same one after the other, so that a machine whose speed drifts moves all of them together; only ratios within a
round are compared. Servers, generators for HTTP/1.1 latency and for gRPC, and what is void are those of bench_serve. The rooms:

    programs       finds the programs that are not Python's, and fills in their configurations
    questions      the requests, and what a right answer is
    sites          what stands behind the proxies: nginx, HAProxy, or Edgewise's gRPC server, with a fixed answer
    proxies        the contestants
    wrk            the load generator for HTTP/1.1 throughput
    awake          keeps the cores from sleeping where latencies are measured
    cores          how busy the cores are
    plan           stages, ways of loading, settings, results
    rounds         a stage under way
    report         ratios, and the markdown table
    profiling      where the gateway's microseconds go
    baselines/     configurations, and the proxies that are ours but not the gateway
"""
