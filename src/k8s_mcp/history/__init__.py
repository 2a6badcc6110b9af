"""What runs were, kept in a database for a while after they are over. It observes, and holds up nothing."""
