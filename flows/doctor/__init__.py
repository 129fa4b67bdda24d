"""`advkd doctor`: finds what is missing or wrong on this machine and in Prefect, and names remedies."""

from flows.doctor.command import doctor

__all__ = ["doctor"]
