"""A payment system to try things on: local nodes under command, a demo store, everything running."""
