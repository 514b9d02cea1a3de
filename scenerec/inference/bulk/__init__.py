"""A model's answers for every image of a bucket, a folder or a packed set, as a table that is written part by part."""
