"""The agent of a site: makes the site match what the hub wants, also while the hub is away.

    port           what differs between kinds of sites      tally        what was counted, summed up over restarts
    acting         looks, asks the plan, writes, does       journal      what was written down of each rollout
    board          what talking and acting share            state        the agent's directory
    talking        polls and reports; never waited for      desired      the last order that was accepted
    hub_client     the hub's HTTP API                       reporting    what the hub is told
    staging        has a release's files on the disk        partial_file one file that comes in chunks
    transfer       bytes from the hub, within rate and quota

    edge           an edge node: model server and gateway   models_config, canary_file   the files that those two follow

Nothing here decides when to go on or back: `core.rollout.site_plan` does. Whatever is followed is on the disk first, so a process
that is killed anywhere goes on where it was.
"""
