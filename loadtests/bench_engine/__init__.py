"""How well the open-loop engine keeps its schedule, and whether what it tells of a server that stalls is true."""
