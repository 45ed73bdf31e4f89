"""Few labels on frozen features: selections by size, protocols that judge them, studies."""
