"""Who prices the designs, what of them is kept, and where."""
