"""`python -m flows.deploy`: work pools, queues, deployments and automations; see `flows.serving.deploying`."""

import sys

from flows.serving import deploy

if __name__ == "__main__":
    sys.exit(deploy())
