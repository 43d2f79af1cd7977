"""What a payer sees: one page per invoice without any script, and the same as a stream for those who read it."""
