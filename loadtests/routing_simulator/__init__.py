"""The routing core on virtual time: a modelled network, sites that fail on schedule, and a ledger that checks every step.

    Scenario ─▶ Simulation ──events──▶ Router
                    │  ◀─instructions──┘            gateway.py, simulation.py
                    ├─ Way      the network to one site: delay, loss, bandwidth, cuts      network.py
                    ├─ Site     workers, queues, processes that stop                      sites.py
                    ├─ faults   what goes wrong and when                                  faults.py
                    └─ Ledger   the invariants, request by request                        ledger.py

Everything random comes from the scenario's seed, so a seed replays a run exactly (`Simulation.digest`), and the events
of a run can be fed to a fresh router by themselves (`replay.py`).
"""
