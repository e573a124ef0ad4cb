"""The CodeArts Build API: requests, their signatures, and the meaning of responses."""
