"""Makes one site match what is wanted of it: fetches model versions, and installs and watches a Kubernetes site."""
