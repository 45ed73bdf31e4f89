"""Choosing from plain arrays, without a project."""
