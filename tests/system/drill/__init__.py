"""The drill: parts of an installation are lost while clients use it."""
