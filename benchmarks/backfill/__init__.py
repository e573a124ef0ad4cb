"""How much it takes to bring the past to Prometheus."""
