"""What is found out about sets of samples: metrics with their uncertainty, and methods compared row by row."""
