"""What it is measured on: device, sensors, clocks, drift."""
