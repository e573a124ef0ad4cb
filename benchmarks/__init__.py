"""What the exporter costs, measured: each module here prints a table; ``make bench`` runs them all."""
