"""Samples: taken in from sites, kept, labelled, and let go when their time is over."""
