"""A kubeconfig from a stranger: read strictly, written anew, and what to mask of it."""
