"""The YAML that a user writes, as frozen models: jobs, searches and applications."""
