"""The straight line of requests whose body and answer pass through, and never lie here whole."""
