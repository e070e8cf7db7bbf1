"""Chutes, their containers, and the change queue of the node."""
