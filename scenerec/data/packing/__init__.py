"""From folders and lists of images to shards and their manifest."""
