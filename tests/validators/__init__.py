"""What checks files that other programs read: promtool, amtool, Grafana's schema and types, a linter."""
