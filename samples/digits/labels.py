# copier update rewrites this file, unless "What is yours" in README.md names it.
"""The names of the classes: there are none, so each is called by its index."""


def read_labels(num_classes: int) -> list[str]:
    """Return the names of all classes, in the order of the network's outputs."""
    return [str(index) for index in range(num_classes)]
