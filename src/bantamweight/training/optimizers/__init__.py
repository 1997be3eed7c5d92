"""Optimizers, each made from the parameters that may move, the rate and the weight decay; one per file."""
