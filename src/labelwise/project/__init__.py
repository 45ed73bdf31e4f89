"""A project of people on disk: set up, asked, answered."""
