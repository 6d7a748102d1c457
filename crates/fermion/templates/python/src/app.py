"""Answers a request. `wit_world` is made from wit/world.wit when the component is built."""

from urllib.parse import urlsplit

from componentize_py_types import Ok
from wit_world import exports
from wit_world.imports.types import Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam


class IncomingHandler(exports.IncomingHandler):
    def handle(self, request: IncomingRequest, response_out: ResponseOutparam) -> None:
        path = urlsplit(request.path_with_query() or "/").path
        respond(response_out, 200, f"Hello from {{name}} at {path}\n")


def respond(response_out: ResponseOutparam, status: int, text: str) -> None:
    response = OutgoingResponse(Fields.from_list([("content-type", b"text/plain; charset=utf-8")]))
    response.set_status_code(status)
    body = response.body()
    # From here on the head may travel; the body follows it.
    ResponseOutparam.set(response_out, Ok(response))
    with body.write() as stream:
        # One write takes 4096 bytes at most.
        data = text.encode()
        for start in range(0, len(data), 4096):
            stream.blocking_write_and_flush(data[start : start + 4096])
    OutgoingBody.finish(body, None)
