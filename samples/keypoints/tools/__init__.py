# copier update rewrites this file, unless "What is yours" in README.md names it.
"""What the commands and the tests share; no part of the archive."""
