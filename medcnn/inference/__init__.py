"""A network and a scan become a prediction."""
