"""Translates between protos and the spectrum service."""
