"""Decides what networks there are; knows neither gRPC nor the kernel."""
