"""From outcomes to the outbox, once."""
