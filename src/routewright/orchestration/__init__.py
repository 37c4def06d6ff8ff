"""Routes that ask more than once to answer one request: cascades, and loops around a planner."""
