"""Evaluation: how good a student is, by which protocol, and the page that shows it."""
