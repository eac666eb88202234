"""What a design takes of a chip or of an FPGA."""
