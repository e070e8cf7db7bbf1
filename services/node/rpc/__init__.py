"""Translates between protos and the node service."""
