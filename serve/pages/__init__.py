"""The pages that the server shows to people, and its own description."""
