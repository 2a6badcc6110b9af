"""What happens, as facts; the audit log and the metrics that are made of them."""
