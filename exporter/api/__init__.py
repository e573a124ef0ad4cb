"""The CodeArts Build API: what to ask, how to sign it, what the answers mean."""
