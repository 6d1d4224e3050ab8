"""A played API server and played brokers, for fleets that no test machine holds: what the operator uses of both."""
