"""Labelled pictures made into a dataset: split by source, without doubles, augmented, with digests for all of it.

    sources      what pictures there are, and what is known of each
    normalizing  a file into the picture that is kept: upright, RGB, without EXIF, of the wanted size
    likeness     which pictures are nearly the same
    grouping     which pictures have to stay together
    splitting    which split each group goes to
    keeping      the splits of an earlier dataset
    augmenting   more pictures for train
    staging      a directory that is there whole or not at all
    building     all of that in order
    checking     whether a dataset is what its manifest says, and nothing of train is in test

What is written is described in `edgewise.protocols.dataset_manifest`.
"""
