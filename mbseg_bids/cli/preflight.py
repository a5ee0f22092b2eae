"""What can be known of the model before any image is read: whether its weights are there, and its device."""

from mbseg_bids.settings import Settings


def check_model(settings: Settings) -> None:
    """Refuse what the network could not be run with, before hours are spent on what comes before it.

    The weights of the package are left to the step that uses them: torch takes seconds to import.

    Raises
    ------
    UsageError
        If there are no such weights, they are of another task, or a GPU is asked for that is not there.
    UnreadableDataError
        If the weights are damaged.
    """
    if settings.execution.device == "cuda":
        from mbseg_bids.detection.network.classify import choose_device

        choose_device("cuda")
    if settings.detection.weights != type(settings.detection)().weights:
        from mbseg_bids.detection.network.weights import load_weights

        load_weights(settings.detection.weights, task="microbleed")
