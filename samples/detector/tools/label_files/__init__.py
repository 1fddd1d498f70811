# copier update rewrites this file, unless "What is yours" in README.md names it.
"""Reading the names of the classes: a module for each format, and what several of them use."""
