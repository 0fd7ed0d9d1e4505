# The proxy as a container: a numeric user, no shell on the way, works with a read-only root file system.
#   docker build -t safety-proxy .
#   docker run --rm --read-only -p 127.0.0.1:11435:11435 --add-host host.docker.internal:host-gateway \
#     -e SAFETY_PROXY_UPSTREAM=host.docker.internal:11434 safety-proxy
# Inside, it has to listen on every interface, so it is told to serve clients without a key (ALLOW_ANONYMOUS). Publish
# its ports on the loopback as above, or mount a file of keys and name it in SAFETY_PROXY_KEYS: then a key is needed.
FROM python:3.13-slim@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b AS base

FROM base AS build
WORKDIR /src
RUN python -m venv /app
COPY requirements/run.lock requirements/run.lock
RUN /app/bin/python -m pip install --no-cache-dir --require-hashes -r requirements/run.lock
COPY pyproject.toml README.md LICENSE ./
COPY policies policies
COPY proxy proxy
RUN /app/bin/python -m pip install --no-cache-dir --no-deps --no-build-isolation .

FROM base
COPY --from=build /app /app
COPY policies /policies
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SAFETY_PROXY_LISTEN=0.0.0.0:11435 \
    SAFETY_PROXY_ADMIN=0.0.0.0:9435 \
    SAFETY_PROXY_ALLOW_ANONYMOUS=true \
    SAFETY_PROXY_POLICIES=/policies
WORKDIR /tmp
USER 10001:10001
EXPOSE 11435 9435
HEALTHCHECK --interval=10s --timeout=4s --start-period=20s --retries=3 \
    CMD ["/app/bin/python", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 9435, timeout=3); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["/app/bin/safety-proxy"]
CMD ["serve"]
