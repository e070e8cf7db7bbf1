"""Starts the parts of a node and ends them in order: the only code that knows all of them."""
