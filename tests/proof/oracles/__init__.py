"""Programs of others that are asked about the same charts: the xstate package, and Spin."""
