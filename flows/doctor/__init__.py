"""`advkd doctor`: what is missing or wrong on this machine and in Prefect, with remedies."""

from flows.doctor.command import doctor

__all__ = ["doctor"]
