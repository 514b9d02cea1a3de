"""What answers HTTP: Ray Serve applications over exported models."""
