"""The operator's end: asked for by a signal, due once all work is done."""

import asyncio
import signal
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Stop:
    """`asked`: nothing new is begun. `due`: nothing is worked on any more, and the watch ends, too.

    The watch goes last: kopf cancels every task of the loop five seconds after it was told to end, whoever's it is.
    """

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    due: asyncio.Event = field(default_factory=asyncio.Event)

    def listen(self) -> None:
        """Have SIGTERM and SIGINT ask for the end, however often they come."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self.asked.set)
