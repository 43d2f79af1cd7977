"""Every endless loop, one file each: wait, take work, decide, commit."""
