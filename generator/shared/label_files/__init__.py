"""Reading the names of the classes: a module for each format, and what several of them use."""
