"""The control plane: sites, tokens, releases and rollouts in memory, each change of which is one transaction of the store.

plane         what the hub can be asked; one thread asks
known         what is in memory, and how it comes back from the store
change        what one call changes, written in one transaction
running       one rollout: the machine of `core/rollout` and what of it is written down
credentials   tokens of people and of sites, enrolments
documents     desired states, signed and kept
planning      what each site would do, before anything moves
status        what people are told
"""
