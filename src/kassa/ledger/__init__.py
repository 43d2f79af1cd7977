"""The books: balanced entries that are only ever added."""
