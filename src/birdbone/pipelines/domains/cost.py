"""What the nodes of the labelled scans cost, see ``run.cost``."""

from birdbone.parameters import Parameters
from birdbone.pipelines.sps_scan.cost import SCAN
from birdbone.run.cost import WRITE, Work
from birdbone.sources.shape import ModelShape
from birdbone.text.sources import SEED_CHAT


def works(parameters: Parameters, shape: ModelShape) -> dict[str, Work]:
    """A row for each node. Only the dialogues are written by the seed."""
    domains = parameters.domains
    talks = sum(source == SEED_CHAT for source in domains.sets.values())
    written = talks * (domains.scan_tokens + domains.heldout_tokens)
    return {
        "domains.texts": Work(tokens=WRITE * written, seconds=20),
        "domains.scan": Work(tokens=SCAN * len(domains.sets) * domains.scan_tokens),
    }
