"""Area, power and energy of whole chips, and every template on probe products."""
