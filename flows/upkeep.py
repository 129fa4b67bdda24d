"""`python -m flows.upkeep`: what automations of a killed server would have done; see `flows.serving.upkeep`."""

from flows.serving import main

if __name__ == "__main__":
    main()
