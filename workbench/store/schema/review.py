"""Tables of review: annotators, journal, claims, audits."""
