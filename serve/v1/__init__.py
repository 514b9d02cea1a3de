"""The service's own protocol: photographs in, places out."""
