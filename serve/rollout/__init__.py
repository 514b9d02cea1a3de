"""Which versions an application serves: the decisions, and how replicas follow them."""
