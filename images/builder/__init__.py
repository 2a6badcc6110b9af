"""What `images/build` does, with the standard library only: it runs before there is an environment."""
