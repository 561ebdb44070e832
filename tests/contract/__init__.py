"""What every executor promises for every language, whatever it is made of."""
