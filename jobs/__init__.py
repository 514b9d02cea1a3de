"""What runs on the cluster: Ray entry points around the library's functions, and the recipes."""
