"""Real servers for tests: a private PostgreSQL and a headless Chromium."""
