"""Workitems, the Unified Procedure Steps of others (PS3.4 Annex CC), and triage jobs seen as such."""
