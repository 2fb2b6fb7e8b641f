"""What learning needs, whatever is learned.

Here belong the training loop and its objectives, networks, units, named streams of random
numbers, settings, processes and devices, and model files. What is learned, and from which data,
belongs to the methods: nothing here knows a snapshot or a path.
"""
