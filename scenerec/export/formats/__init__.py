"""Export formats: each turns a network into the files of a bundle, and lets them through its gates."""
