"""`scenerec data`: make, look at and check packed data sets."""
