"""What watching a fleet costs in requests, freshness, processor time and memory."""
