# copier update rewrites this file, unless "What is yours" in README.md names it.
"""The service: all that travels in the archive, and nothing else."""

NUM_CLASSES = 2
