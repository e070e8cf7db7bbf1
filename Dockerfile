# An image for each kind of part: `service` (auth, chutes, node, bridge), `network`, `airshark` and `gateway`. Builds with
# the classic builder as well as with BuildKit, and without a network after `make wheels` if the base images are there.
ARG BASE_IMAGE=python:3.11-slim-bookworm
# May hold hostapd and what else `network` needs already, as scripts/base_image.sh makes it.
ARG NETWORK_BASE_IMAGE=${BASE_IMAGE}

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
    /opt/paradrop/bin/python scripts/split_image.py /images

FROM ${BASE_IMAGE} AS service
COPY packaging/healthcheck packaging/state_folders /usr/local/bin/
RUN state_folders
COPY LICENSE /usr/share/doc/paradrop/LICENSE
COPY --from=build /images/service /
ENV PATH=/opt/paradrop/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONDONTWRITEBYTECODE=1
USER paradrop
ENTRYPOINT ["paradrop"]

FROM service AS gateway
COPY --from=build /images/gateway /

FROM ${NETWORK_BASE_IMAGE} AS network
ARG NETWORK_PACKAGES="dnsmasq-base hostapd iproute2 iw nftables"
RUN command -v hostapd >/dev/null || { \
        apt-get update && apt-get install -y --no-install-recommends ${NETWORK_PACKAGES} && \
        rm -rf /var/lib/apt/lists/*; }
COPY packaging/healthcheck packaging/state_folders /usr/local/bin/
RUN state_folders
COPY LICENSE /usr/share/doc/paradrop/LICENSE
COPY --from=build /images/service /
ENV PATH=/opt/paradrop/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONDONTWRITEBYTECODE=1
ENTRYPOINT ["paradrop"]

# Tunes radios with iw, which is in there.
FROM network AS airshark
COPY --from=build /images/airshark /
USER paradrop
