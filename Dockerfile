FROM python:3.12-slim AS build
WORKDIR /source
COPY pyproject.toml README.md ./
COPY detector detector
COPY training training
COPY server server
COPY static static
COPY templates templates
RUN python -m venv /opt/defectvision && /opt/defectvision/bin/pip install --no-cache-dir .

FROM python:3.12-slim
COPY --from=build /opt/defectvision /opt/defectvision
RUN useradd --create-home --uid 10001 inspector && install -d -o inspector /data
USER inspector
WORKDIR /data
# No Aravis (cameras of GigE Vision and USB3 Vision): docs/cameras.md says how to add it.
# Bound to all addresses, so the server asks for an access code: set ACCESS_CODE, or read it in the log.
ENV PATH=/opt/defectvision/bin:$PATH HOST=0.0.0.0 PORT=8000 DATA_DIR=/data
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=3s --start-period=90s \
  CMD ["python", "-m", "server.healthcheck"]
CMD ["defectvision", "serve"]
