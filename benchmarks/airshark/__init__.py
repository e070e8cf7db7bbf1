"""Trains and judges the detection of devices on simulated air."""
