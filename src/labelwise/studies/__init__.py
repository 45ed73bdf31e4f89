"""Simulated campaigns: which strategy would have saved labels."""
