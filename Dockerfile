ARG PYTHON_IMAGE=docker.io/library/python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
RUN python3 -m venv /opt/taskqueue
COPY requirements/operator.txt /tmp/requirements.txt
RUN /opt/taskqueue/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r /tmp/requirements.txt \
    && /opt/taskqueue/bin/pip uninstall --yes --quiet pip
# Our package is plain Python: copied, so that no build backend has to be fetched without a hash.
COPY operator/taskqueue_operator /tmp/taskqueue_operator
RUN cp -r /tmp/taskqueue_operator "$(/opt/taskqueue/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/" \
    && /opt/taskqueue/bin/python -m compileall -q /opt/taskqueue/lib

FROM ${PYTHON_IMAGE}
# Same path in both stages: a virtual environment cannot be moved.
COPY --from=build /opt/taskqueue /opt/taskqueue
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
EXPOSE 8080
# Exec form: a shell as PID 1 would keep SIGTERM to itself.
ENTRYPOINT ["/opt/taskqueue/bin/python", "-m", "taskqueue_operator.app"]
