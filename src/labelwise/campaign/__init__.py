"""The loop and its state: pool, events, plan, one pass, choice."""
