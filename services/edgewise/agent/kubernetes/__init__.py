"""A Kubernetes cluster as a site: installed, looked at, and taken away through the API."""
