"""Endpoints that SNS posts to: an HTTP server in a thread, with what it was sent."""

import http.server
import json
import socket
import ssl
import subprocess
import threading
import urllib.request


class Post:
    def __init__(self, path, headers, body):
        self.path, self.headers, self.body = path, headers, body

    @property
    def kind(self):
        return self.headers["x-amz-sns-message-type"]

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def message(self):
        return self.json["Message"]


class Endpoint:
    """Answers 200, or what `answer` says for a post: a status, or a status and headers. `answer` may block."""

    def __init__(self, answer=lambda post: 200, tls=None, port=0):
        self.answer = answer
        self.posts = []
        self.arrived = threading.Condition()
        self.connections = []
        endpoint = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                super().setup()
                endpoint.connections.append(self.connection)

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                post = Post(self.path, dict((key.lower(), value) for key, value in self.headers.items()), body)
                with endpoint.arrived:
                    endpoint.posts.append(post)
                    endpoint.arrived.notify_all()
                answer = endpoint.answer(post)
                status, headers = answer if isinstance(answer, tuple) else (answer, {})
                self.send_response(status)
                for key, value in headers.items():
                    self.send_header(key, value)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_):
                pass

        class Quiet(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass  # A broker that was killed in the middle is no failure of the test.

        self.server = Quiet(("127.0.0.1", port), Handler)
        if tls:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.url = f"{'https' if tls else 'http'}://{'localhost' if tls else '127.0.0.1'}:{self.port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def hang_up(self):
        """Ends all connections, whoever uses them."""
        for connection in self.connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # It has ended.

    def wait(self, holds, timeout_s=30):
        """Waits until `holds` of the posts so far, and gives them back."""
        with self.arrived:
            came = self.arrived.wait_for(lambda: holds(self.posts), timeout_s)
            assert came, f"only these came: {[(post.kind, post.body[:200]) for post in self.posts]}"
            return list(self.posts)

    def wait_for(self, count, kind="Notification", timeout_s=30):
        """Waits for so many posts of a kind."""
        of_kind = lambda posts: [post for post in posts if post.kind == kind]
        return of_kind(self.wait(lambda posts: len(of_kind(posts)) >= count, timeout_s))

    def confirm(self, path=None):
        """Opens the URL that the last confirmation has (of those to a path)."""
        of_path = lambda posts: [it for it in posts if it.kind == "SubscriptionConfirmation" and path in (None, it.path)]
        posts = of_path(self.wait(of_path))
        with urllib.request.urlopen(posts[-1].json["SubscribeURL"], timeout=10) as answer:
            return answer.read().decode()


def authority(directory):
    """A certification authority, and a certificate of localhost by it; gives the path of the one and a context with the other."""
    run = lambda *words: subprocess.run(["openssl", *words], cwd=directory, check=True, capture_output=True)
    names = directory / "names"
    names.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
    key = ["-newkey", "rsa:2048", "-nodes"]
    run("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=authority of a test")
    run("req", *key, "-keyout", "own.key", "-out", "own.csr", "-subj", "/CN=localhost")
    run("x509", "-req", "-in", "own.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", "own.pem", "-days", "2", "-extfile", str(names))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "own.pem", directory / "own.key")
    return directory / "ca.pem", context
