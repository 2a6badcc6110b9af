"""The Kubernetes executor: the runner in a Job pod, and what a replica cleans up."""
