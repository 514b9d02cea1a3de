"""What `scenerec cluster doctor` looks at on each node, and how it judges that."""
