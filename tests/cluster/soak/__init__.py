"""A soak: many objects, random operations, everything killed at random, and a checker that knows what has to hold."""
