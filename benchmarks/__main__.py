"""Runs all benchmarks, or the named ones: `make bench`, `python -m benchmarks rest`."""

import os
import sys

import docker

from benchmarks import (
    chutes,
    decoding,
    fleet,
    footprint,
    info,
    install,
    logs,
    parts,
    rest,
    spectrum,
    stations,
    stations_lab,
)
from tests.support.engine import busybox_image, running_engine

BENCHMARKS = {
    "footprint": footprint.main,
    "rest": rest.main,
    "install": install.main,
    "chutes": chutes.main,
    "info": info.main,
    "fleet": fleet.main,
    "decoding": decoding.main,
    "spectrum": spectrum.main,
    "spectrum-soak": spectrum.soak,
    "logs": logs.main,
    "stations": stations.main,
    "stations-lab": stations_lab.main,
    "parts": parts.main,
}

# Where Debian keeps dockerd, and who is not at a login shell does not look.
os.environ["PATH"] += ":/usr/sbin:/sbin"

with running_engine() as address:
    busybox_image(docker.APIClient(address))
    for name in sys.argv[1:] or BENCHMARKS:
        BENCHMARKS[name]()
