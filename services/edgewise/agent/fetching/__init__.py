"""Brings one model version to a directory, whole and checked, or not at all.

    uris       what a URI names                        digests    what --sha256 means
    port       what a source offers, and how it fails  transfer   one file of a source, retried and resumed
    *_source   files, HTTP, S3, OCI registries         archives   unpacking that stays where it is told to
    place      the directory: lock, staging, rename    fetch      all of it in order

Nothing here imports a model server's packages; those for S3 and OCI registries are imported when they are used.
"""
