"""As by_hand_pika, with a consumer timeout of five seconds for one slot and a prefetch of one."""

import by_hand_pika  # type: ignore[import-not-found]  # beside this file

from taskqueue_drain import consume_settings
from taskqueue_drain.pika import Drainable

consume_settings.CONSUMER_TIMEOUT_MARGIN_SECONDS = 5 - 2 * 870  # type: ignore[misc]  # a constant everywhere else

if __name__ == "__main__":
    with Drainable.from_environment() as worker:
        worker.run(by_hand_pika.handle)
