"""Translates between protos and the domain."""
