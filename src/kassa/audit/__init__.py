"""Who did what to the safety of this installation: a log that is only added to, chained by hashes."""
