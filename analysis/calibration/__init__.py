"""A GPU's constants from measurements: read, doubted, fitted."""
