"""Networks that answer: bundles, their registry, and what opens, evaluates and explains them."""
