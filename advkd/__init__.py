"""Adv-KD: from a diffusion teacher's cached trajectories to a one-pass student; knows no Prefect."""
