"""Verdicts, timings, costs and attributions become facts here."""
