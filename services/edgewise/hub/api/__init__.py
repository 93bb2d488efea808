"""The hub's HTTP API: who may ask what, and answers."""
