"""Translates between protos and the network service."""
