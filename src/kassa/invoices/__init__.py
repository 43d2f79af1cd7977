"""What was asked, and where it stands."""
