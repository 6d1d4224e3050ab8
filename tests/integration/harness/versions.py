"""The versions of RabbitMQ with which tests run."""

import pytest

from tests.cluster.debian import RABBITMQ_SUITES

every_version = pytest.mark.parametrize("rabbitmq_version", RABBITMQ_SUITES, indirect=True)
"""Marks a test that runs with a broker of each version. The others run with the newest one."""
