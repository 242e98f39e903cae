"""How the proxy does, for those who run it: numbers for Prometheus (`metrics`), and whether it can serve (`readiness`)."""
