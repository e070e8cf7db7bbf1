"""Radios, files and whatever else the spectrum service touches."""
