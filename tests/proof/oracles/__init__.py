"""Independent programs that check the same charts: the xstate package, and Spin."""
