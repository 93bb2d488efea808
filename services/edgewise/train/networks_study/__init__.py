"""Compares networks: what each costs to train, and how it serves, in three formats, at the edge and in the cloud.

Training, export and serving are commands, each a process of its own: memory is then that of one network alone, and TensorFlow is gone when
the next begins. What a step has made stays on the disk, so a study that was stopped goes on behind the last whole step.
"""
