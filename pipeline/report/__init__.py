"""What a run shows: tables, plots, a page."""

import logging

logging.getLogger("matplotlib").setLevel(logging.ERROR)  # where its cache has to lie is nothing to tell a user
