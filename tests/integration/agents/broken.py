"""Does not load: the other agents serve all the same."""

raise RuntimeError("this file is broken on purpose")
