"""The gateway: one local endpoint in front of every site; carries out what `edgewise.core.routing` decides."""
