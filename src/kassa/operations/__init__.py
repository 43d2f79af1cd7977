"""What an operator does from the command line: each changes one thing in one transaction and tells."""
