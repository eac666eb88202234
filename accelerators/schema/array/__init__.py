"""What computes: arrays of processing elements, and engines that find zeros at run time."""
