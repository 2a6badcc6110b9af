"""HEAD wherever there is GET: RFC 9110, sections 9.1 and 9.3.2."""

from http import HTTPMethod

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Head:
    """Answers HEAD with the head of what GET would answer.

    `app` sees a GET whose client leaves when it has the head: so a stream ends before its first event.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != HTTPMethod.HEAD:
            await self._app(scope, receive, send)
            return
        answered = False

        async def receive_until_answered() -> Message:
            return {"type": "http.disconnect"} if answered else await receive()

        async def send_head(message: Message) -> None:
            nonlocal answered
            if answered:
                return
            await send(message)
            if message["type"] == "http.response.start":
                answered = True
                await send({"type": "http.response.body"})

        await self._app({**scope, "method": HTTPMethod.GET.value}, receive_until_answered, send_head)
