"""Training of the shipped networks: losses, the loop, the recipes."""
