# One image for all services. Builds with the classic builder as well as with BuildKit, and without a network
# after `make wheels` if the base image is there.
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS build
RUN python3 -m venv /opt/paradrop
# The brackets make the folder optional: without it pip fetches the same wheels from its index.
COPY requirements/run.lock build/wheel[s] /wheels/
RUN if ls /wheels/*.whl >/dev/null 2>&1; then from="--no-index --find-links=/wheels"; fi; \
    /opt/paradrop/bin/pip install --no-cache-dir --no-deps --require-hashes $from -r /wheels/run.lock
WORKDIR /src
COPY . .
RUN /opt/paradrop/bin/python scripts/gen.py && \
    /opt/paradrop/bin/pip install --no-deps --no-index --no-build-isolation .

FROM ${BASE_IMAGE}
COPY --from=build /opt/paradrop /opt/paradrop
COPY packaging/healthcheck /usr/local/bin/healthcheck
COPY LICENSE /usr/share/doc/paradrop/LICENSE
ENV PATH=/opt/paradrop/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONDONTWRITEBYTECODE=1
ENTRYPOINT ["paradrop"]
CMD ["run"]
