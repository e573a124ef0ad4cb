"""What Grafana needs to show the exporter's metrics."""
