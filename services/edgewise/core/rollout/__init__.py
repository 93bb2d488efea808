"""Decides how a release reaches many sites, and whether it may stay there.

    selectors, waves      which sites move together, and how many at once
    sequential, gates     what counts of requests prove about a release, at any moment and over many small sites together
    site_state            the states of a site, as a table
    rollout_state         the states of a rollout, as a table
    wave_progress         how far a wave is
    views                 what a rollout knows at its beginning, and after a report
    verbs                 what people can ask of a rollout, and when
    rollout               carries a rollout through its waves: events in, instructions out
    site_plan             what the agent of a site does next

Nothing here knows the hub's store, an agent's disk or the network; `edgewise.hub` and `edgewise.agent` carry out what is decided here, and
the simulator does the same on virtual time.
"""
