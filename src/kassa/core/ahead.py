"""What to make of a moment that another clock has noted, or ours before it was set right."""

from datetime import timedelta

AHEAD = timedelta(minutes=1)
"""So far a clock may be ahead of another. What was noted later than that was noted by one that has been set back since:
it is over, or whatever waits for that moment to pass would wait until it comes.
"""
