"""Rollouts on virtual time: a hub, many sites that crash and lose their links, and a ledger that checks every step.

    Scenario ─▶ Simulation ──events──▶ hub.py     core/rollout/rollout.py, what it writes down, crashes
                    │  ◀─instructions──┘
                    ├─ Agent    core/rollout/site_plan.py, a disk, a model server, a gateway     agents.py
                    └─ Ledger   the invariants, at every step of every agent                    ledger.py

Everything random comes from the scenario's seed, so a seed replays a run exactly (`Simulation.digest`).
"""
