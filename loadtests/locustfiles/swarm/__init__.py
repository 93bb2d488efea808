"""What the locustfiles share: options, users, shapes, the open-loop engine, exact figures."""
