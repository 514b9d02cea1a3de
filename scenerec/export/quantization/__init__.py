"""Models in int8: recipes, the search among them, and the gates of accuracy and speed that they must pass."""
