"""What a scrape costs, beside a static file and prometheus-client's own application."""
