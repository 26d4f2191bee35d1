"""What several test modules share: ends and peers, networks, tools, and checks around tests."""
