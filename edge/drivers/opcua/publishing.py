"""Keeps publish requests waiting at a server, and passes each answer on to the subscription that it is of."""

import asyncio
from collections.abc import Callable

from asyncua.client.ua_client import UaClient
from asyncua.common.utils import Buffer
from asyncua.ua.uaerrors import BadTimeout, BadTooManyPublishRequests

from edge.drivers.opcua.inside import FAILURES, begin
from edge.drivers.opcua.notifications import PUBLISH_REQUEST, Message, write_acknowledgements
from edge.drivers.opcua.reading import read_message

REQUESTS_MAX = 5
"""As many as small controllers keep waiting; with one alone, a slow link would hold messages up."""

ACKNOWLEDGED_MAX = 1_000
"""More messages than this in one acknowledgement are left to the next."""

TIMEOUTS_MAX = 100
"""So many requests in a row given back unanswered, and the server is not going to answer any."""

Take = Callable[[Message], None]


class Publishing:
    """The publish requests of one session; its own, for asyncua's loop decodes into objects and has but one.

    Answers are taken by call-backs of asyncua's socket: there is no task, and nothing to end.
    """

    def __init__(self, client: UaClient, tell_end: Callable[[Exception], None]) -> None:
        self._client = client
        self._tell_end = tell_end
        self._takers: dict[int, Take] = {}
        self._unacknowledged: list[tuple[int, int]] = []
        self._waiting = 0
        self._requests_max = 1
        self._timeouts = 0
        self._is_over = False

    def add(self, subscription_id: int, take: Take) -> None:
        """Have the messages of a subscription taken from now on."""
        self._takers[subscription_id] = take
        self._requests_max = min(REQUESTS_MAX, self._requests_max + 1)
        self._ask()

    def _ask(self) -> None:
        while self._waiting < self._requests_max and not self._is_over:
            known, self._unacknowledged = self._unacknowledged, []
            self._unacknowledged = known[ACKNOWLEDGED_MAX:]
            arrived = write_acknowledgements(known[:ACKNOWLEDGED_MAX])
            try:
                answer = begin(self._client, PUBLISH_REQUEST, arrived)
            except FAILURES as error:
                self._end(error)
                return
            self._waiting += 1
            answer.add_done_callback(self._take)

    def _take(self, answer: "asyncio.Future[Buffer]") -> None:
        self._waiting -= 1
        if answer.cancelled():
            self._is_over = True
            return
        try:
            self._pass_on(read_message(self._client, answer.result()))
            self._timeouts = 0
        except BadTimeout as error:  # the request has waited for long enough; the next may wait again
            self._timeouts += 1
            if self._timeouts > TIMEOUTS_MAX:
                self._end(error)
        except BadTooManyPublishRequests as error:
            self._requests_max = max(1, self._waiting)
            if self._waiting == 0:
                self._end(error)
        except FAILURES as error:
            self._end(error)
        self._ask()

    def _pass_on(self, message: Message) -> None:
        take = self._takers.get(message.subscription_id)
        if not message.is_sign_of_life:
            self._unacknowledged.append((message.subscription_id, message.sequence))
        if take is not None:
            take(message)

    def _end(self, error: Exception) -> None:
        if not self._is_over:
            self._is_over = True
            self._tell_end(error)
