ARG PYTHON_IMAGE=docker.io/library/python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
RUN python3 -m venv /opt/taskqueue
COPY requirements/operator.txt /tmp/requirements.txt
RUN /opt/taskqueue/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r /tmp/requirements.txt \
    && /opt/taskqueue/bin/pip uninstall --yes --quiet pip
# Copied rather than installed: no build backend that would have to be fetched without a hash.
COPY operator/taskqueue_operator /opt/taskqueue/src/taskqueue_operator
RUN /opt/taskqueue/bin/python -m compileall -q /opt/taskqueue

FROM ${PYTHON_IMAGE}
COPY --from=build /opt/taskqueue /opt/taskqueue
ENV PYTHONPATH=/opt/taskqueue/src PYTHONUNBUFFERED=1
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/opt/taskqueue/bin/python", "-m", "taskqueue_operator"]
