# An image for each kind of part: `service` (auth, chutes, node, bridge), `network`, `airshark` and `gateway`. Builds with
# the classic builder as well as with BuildKit, and without a network after scripts/base_image.sh and `make wheels`.
# All are built upon `core`: parts that run side by side share what they have read of its files.
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS build
RUN python3 -m venv /opt/paradrop
# The brackets make the folder optional: without it pip fetches the same wheels from its index.
COPY requirements/run.lock build/wheel[s] /wheels/
RUN if ls /wheels/*.whl >/dev/null 2>&1; then from="--no-index --find-links=/wheels"; fi; \
    /opt/paradrop/bin/pip install --no-cache-dir --no-compile --no-deps --require-hashes $from -r /wheels/run.lock
WORKDIR /src
COPY . .
RUN /opt/paradrop/bin/python scripts/gen.py && \
    /opt/paradrop/bin/pip install --no-compile --no-deps --no-index --no-build-isolation . && \
    /opt/paradrop/bin/python -X no_debug_ranges scripts/split_image.py /images

FROM ${BASE_IMAGE} AS core
COPY packaging/healthcheck packaging/list_debian packaging/state_folders /usr/local/bin/
RUN state_folders
COPY LICENSE /usr/share/doc/paradrop/LICENSE
COPY --from=build /images/core /
ENV PATH=/opt/paradrop/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONDONTWRITEBYTECODE=1
ENTRYPOINT ["paradrop"]

FROM core AS service
COPY --from=build /images/service /
RUN list_debian
USER paradrop

FROM core AS gateway
COPY --from=build /images/gateway /
RUN list_debian
USER paradrop

FROM core AS network
# The brackets make the packages of scripts/base_image.sh optional: without them apt fetches the same from Debian.
COPY LICENSE build/deb[s] /debs/
RUN if ls /debs/*.deb >/dev/null 2>&1; then set -- /debs/*.deb; else \
        apt-get update && set -- dnsmasq-base hostapd iproute2 iw nftables; fi && \
    apt-get install -y --no-install-recommends "$@" && \
    rm -rf /debs /var/cache/apt/* /var/lib/apt/lists/* /var/log/*
COPY --from=build /images/network /
RUN list_debian
USER paradrop

FROM core AS airshark
# Radios are tuned with iw.
COPY LICENSE build/deb[s]/iw_* build/deb[s]/libnl-* /debs/
RUN if ls /debs/*.deb >/dev/null 2>&1; then set -- /debs/*.deb; else apt-get update && set -- iw; fi && \
    apt-get install -y --no-install-recommends "$@" && \
    rm -rf /debs /var/cache/apt/* /var/lib/apt/lists/* /var/log/*
COPY --from=build /images/airshark /
RUN list_debian
USER paradrop
