"""How good a network is: predictions over a set, their statistics, the report, the gate of a promotion."""
