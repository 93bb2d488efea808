"""Decides where each prediction goes, and what happens when the way there is lost.

Events in, instructions out, on a clock that the caller reads: see `router.Router`. Nothing here knows HTTP, gRPC or a
socket; `edgewise.gateway` carries the instructions out, and the simulator does the same on virtual time.
"""
