"""A web server with the disks of `customer.disk`, for imports by URL. It sends slowly and knows
ranges, so that fetches are interrupted and continued."""

import http.server
import re
import threading
import time

from customer import disk

PIECE = 256 << 10


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        number = int(self.path.rsplit("/", 1)[1])
        content = disk(number)
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(wanted[1]) if wanted else 0
        self.send_response(206 if wanted else 200)
        if wanted:
            last = len(content) - 1
            self.send_header("Content-Range", f"bytes {start}-{last}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.send_header("ETag", f'"{number}"')
        self.send_header("Accept-Ranges", "bytes")
        self.end_headers()
        try:
            for at in range(start, len(content), PIECE):
                self.wfile.write(content[at : at + PIECE])
                time.sleep(0.02)
        except OSError:
            self.close_connection = True

    def log_message(self, *_):
        pass


def serve():
    """Starts the server; returns its URL."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"
