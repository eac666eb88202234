"""What a space is: its file, its domains and conditions, and the checks before anything runs."""
