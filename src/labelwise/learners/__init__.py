"""Learners: the one training loop, a frozen backbone with a small head, and somebody else's predictions."""
