"""What is claimed about speed and accuracy, measured again, each beside a peer in one run."""
