"""The words everyone uses: money, facts, ids, clock, errors. Standard library only."""
