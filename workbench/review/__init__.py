"""Review: the order of work, audits, agreement between people, and time by phase."""
