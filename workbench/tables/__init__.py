"""The tables that flow between the rooms: proposals, outcomes."""
