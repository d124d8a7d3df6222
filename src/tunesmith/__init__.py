"""tunesmith: examples in, a model with a proven new behavior out.

Each stage word is a module, a function in it, a command and a page of the docs; see README.md for the map.
"""

__version__ = "0.1.0"
