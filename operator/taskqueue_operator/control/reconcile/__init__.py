"""Brings the broker and the Deployment to what the spec asks."""
