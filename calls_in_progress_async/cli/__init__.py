"""The command line. It stands on everything else and nothing stands on it; only here are click and rich imported."""
