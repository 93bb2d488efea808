"""The fault matrix: what an app sees when the way to the cloud fails, through Edgewise and through its opponents.

    load ──▶ gateway (ours, Envoy, HAProxy, nginx) ──▶ wire (RTT, faults) ──▶ cloud site
                     └──────────────────────────────────────────────────────▶ edge site

`namespaces.py` and `wire.py` make the network, `link_world.py` a poorer one where root is not to be had; `site.py` is
the bench's model server, whose service times are timers; `load.py` is the open-loop generator; `opponents.py` starts
what is compared; `faults.py` says what happens when; `run.py` carries one run out; `ledger.py` joins what the generator
and the sites recorded; `phases.py` and `bars.py` judge it; `report.py` writes it down.

Everything runs on one machine, so all times are of one monotonic clock.
"""
