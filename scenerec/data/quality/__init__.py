"""What may be wrong with the pictures of a data set, packed or not: what people should look at before they train."""
