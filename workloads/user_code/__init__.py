"""Code of the user: the folder that it imports from, and where in it something failed."""
