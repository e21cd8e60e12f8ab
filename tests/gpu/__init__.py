"""Everything that needs a CUDA card, in pieces that can be broken off: `make gpu`."""
