"""People: who may sign in, what proves it, and what they may do in which store."""
