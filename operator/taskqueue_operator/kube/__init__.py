"""Speaks to Kubernetes: objects, replicas, status, Secrets, Events. I/O."""
