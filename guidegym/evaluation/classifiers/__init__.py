"""What is found out about a classifier before one guides with it."""
