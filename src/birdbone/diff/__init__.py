"""The diff bundle: the bit-exact, invertible difference between two model states."""
