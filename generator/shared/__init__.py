"""Modules that the generator runs and that projects get word for word, in their tools/.

They import nothing but the standard library, PyYAML, which every project has, and by relative
imports each other; and they hold nothing that Jinja would take for its own.
"""
