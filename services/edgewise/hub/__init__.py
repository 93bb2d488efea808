"""The control plane: releases, sites and rollouts. It decides with `core/rollout`, keeps what was decided, and tells the agents."""
