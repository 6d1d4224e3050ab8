"""Manifests of the workers, and the parts of Deployments and pods that decisions need. Pure."""
