"""What Prometheus and Grafana need to watch a cluster: where to scrape, alert rules, dashboards."""
