"""The Kubernetes client: Deployments, pods, TaskQueues, Secrets, Events and the Lease. I/O."""
