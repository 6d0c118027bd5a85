"""RabbitMQ's management API, as its tools call it."""

import base64
import json
import urllib.error
import urllib.parse
import urllib.request


class Refused(Exception):
    """A status other than 2xx."""

    def __init__(self, status, reason):
        super().__init__(f"{status}: {reason}")
        self.status, self.reason = status, reason


class Management:
    def __init__(self, base, user="guest", password="guest"):
        self.base = base
        self.credentials = base64.b64encode(f"{user}:{password}".encode()).decode()

    def call(self, method, path, body=None):
        """The answer and its status; `path` is what stands behind `/api/`, encoded."""
        request = urllib.request.Request(f"{self.base}/api/{path}", method=method)
        request.add_header("Authorization", f"Basic {self.credentials}")
        if body is not None:
            request.add_header("Content-Type", "application/json")
            request.data = json.dumps(body).encode()
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                text = answer.read()
                return json.loads(text) if text else None, answer.status
        except urllib.error.HTTPError as error:
            text = error.read()
            try:
                reason = json.loads(text).get("reason", "")
            except ValueError:
                reason = text.decode()
            raise Refused(error.code, reason) from None

    def get(self, *parts, **query):
        tail = f"?{urllib.parse.urlencode(query)}" if query else ""
        return self.call("GET", path_of(*parts) + tail)[0]

    def put(self, *parts, body=None):
        return self.call("PUT", path_of(*parts), {} if body is None else body)[1]

    def post(self, *parts, body=None):
        return self.call("POST", path_of(*parts), {} if body is None else body)[0]

    def delete(self, *parts, tail=""):
        return self.call("DELETE", path_of(*parts) + tail)[1]


def path_of(*parts):
    return "/".join(urllib.parse.quote(part, safe="") for part in parts)
