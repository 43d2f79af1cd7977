"""The commands of an operator, a file for each subject.

Heavy modules are imported inside the commands, so that `kassa --help` answers at once.
"""
