"""Rules of a simulated tool: what it answers, and what it does then, beside what its model does."""
