"""Dashboards and provisioning for Grafana."""
