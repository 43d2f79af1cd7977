"""What is wrong: alerts, what was done about each by itself, and what people decided."""
