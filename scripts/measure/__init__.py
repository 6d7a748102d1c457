"""What the measuring scripts share: servers and their figures, the platform and its metrics, loads."""
