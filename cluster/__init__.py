"""Where work runs: the embedded cluster and store, and the cluster that a user already has."""
