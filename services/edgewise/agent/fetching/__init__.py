"""Brings one model version to a directory, whole and checked, or not at all."""
