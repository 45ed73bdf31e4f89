"""What others implement, and nothing else: the contracts between the rooms of the house."""
