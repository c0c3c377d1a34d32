"""State, figures and viewers of the dashboards; the same figures in notebooks."""
