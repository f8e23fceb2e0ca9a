"""Objects of our kinds for tests of every sort: examples, generated ones, and ones that break a single bound."""
