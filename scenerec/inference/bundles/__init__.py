"""Exported models and the registry that names them."""
