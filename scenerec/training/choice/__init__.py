"""What a training shall be, chosen for the data and the machine: facts in, settings with their reasons out."""
