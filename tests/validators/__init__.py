"""What checks files that other programs read: promtool, amtool, hadolint, Compose' loader, Grafana's types, linters."""
