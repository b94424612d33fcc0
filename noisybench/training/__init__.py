"""Training: the loop, pruning by alternate convex search, evaluation, and the device it runs on."""
