"""Load tests that answer "cloud or edge?": schedules, an open-loop engine, recorders, analysis, prediction, report."""
