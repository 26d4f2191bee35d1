"""One file for each subject: a process that listens and echoes, and a process that asks."""
