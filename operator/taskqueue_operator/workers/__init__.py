"""What Kubernetes should run, and what it does run. Pure."""
