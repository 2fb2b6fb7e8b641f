"""A network that reads generators off observed labels, trained on simulated processes.

Here belong the network, what its answer means, the prior that it was trained on and its losses.
How it was trained, and its weights, stand in ``datasets/jump_network/`` of the repository.
"""
