# Another base than the default must have python3 (3.11 or newer) with venv: --build-arg BASE=debian-with-python
ARG BASE=python:3.12-slim

FROM ${BASE} AS build
# Extras to install: "line" has every way out to the plant (docs/plant.md); "" is the slim base install.
ARG EXTRAS=line
ENV PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 SOURCE_DATE_EPOCH=315532800
WORKDIR /source
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY release/constraints.txt constraints.txt
COPY detector detector
COPY training training
COPY server server
COPY static static
COPY templates templates
# The tools stay in /opt/tools; what is shipped has neither them nor pip. Bytecode is checked by no time stamp, so that
# two builds are alike and a read-only container starts fast.
RUN python3 -m venv /opt/tools \
 && /opt/tools/bin/pip install -c constraints.txt hatchling \
 && /opt/tools/bin/python -m hatchling build -t wheel -d /wheel \
 && python3 -m venv --without-pip /opt/defectvision \
 && /opt/tools/bin/pip --python /opt/defectvision/bin/python install --no-compile -c constraints.txt \
      "defectvision${EXTRAS:+[$EXTRAS]} @ file://$(ls /wheel/*.whl)" \
 && /opt/defectvision/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/defectvision/lib

FROM ${BASE}
COPY --from=build /opt/defectvision /opt/defectvision
RUN echo 'inspector:x:10001:10001::/data:/usr/sbin/nologin' >> /etc/passwd \
 && echo 'inspector:x:10001:' >> /etc/group \
 && install -d -o 10001 -g 10001 /data
USER 10001:10001
WORKDIR /data
# No Aravis (cameras of GigE Vision and USB3 Vision): docs/cameras.md says how to add it.
# Bound to all addresses, so the server asks for a login: see the log of the first start.
# Nothing is written but below /data and /tmp: the rest may be read-only (compose.yaml).
ENV PATH=/opt/defectvision/bin:$PATH HOST=0.0.0.0 PORT=8000 DATA_DIR=/data HOME=/tmp PYTHONDONTWRITEBYTECODE=1
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=3s --start-period=90s \
  CMD ["python", "-m", "server.healthcheck"]
CMD ["defectvision", "serve"]
