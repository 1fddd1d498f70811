# copier update rewrites this file, unless "What is yours" in README.md names it.
"""How the network is trained; nothing of this travels in the archive."""
