"""What a rollout costs one site: its apps while versions are switched, the way back from a bad version, the bytes on the wire."""
