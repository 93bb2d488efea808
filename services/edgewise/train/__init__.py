"""Trains networks on datasets, reports on it, and makes versions of models from what was trained.

What imports Keras and TensorFlow does so in `keras_runtime`, when something is trained or exported and not before.
"""
