"""`python -m flows.upkeep`: what automations of a killed server would have done; see `flows.serving.upkeep`."""

from flows.serving import run_upkeep

if __name__ == "__main__":
    run_upkeep()
