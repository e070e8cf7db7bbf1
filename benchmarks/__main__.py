"""Runs all benchmarks: `make bench`."""

from benchmarks import footprint, install, rest

for benchmark in (footprint, rest, install):
    benchmark.main()
