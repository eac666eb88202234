"""The backward pass: the tape that holds it, and what each kind of op adds to it."""
