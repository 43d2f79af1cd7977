"""What pages load: files named by their content, also those that pages of another version ask for."""
