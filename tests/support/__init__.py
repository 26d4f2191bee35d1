"""What several test modules share: tools looked up, captures written and dissected."""
