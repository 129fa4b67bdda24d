"""Tests of `advkd browse`."""
