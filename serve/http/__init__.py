"""HTTP without a framework: requests, responses, routes and their description, whatever the protocol."""
