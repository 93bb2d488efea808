"""What a site believes: TUF's client, the clock, and who may tell the site what to run."""
