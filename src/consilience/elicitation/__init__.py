"""A run from data to labels: session, settings, cost, and logs of other programs."""
