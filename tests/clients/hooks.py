"""What schemathesis does not know of itself: how bytes of an upload are sent and read."""

import schemathesis


@schemathesis.serializer("application/offset+octet-stream")
def octets(_context, value):
    return value if isinstance(value, bytes) else repr(value).encode()


@schemathesis.deserializer("application/octet-stream")
def bytes_of(_context, response):
    return response.content.decode("latin-1")
