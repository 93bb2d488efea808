"""Who said it: keys, signed envelopes. Hub and agent stand on it; who may say what is decided by them."""
