"""What a data set holds and what is wrong with it, measured before anything is trained on it."""
