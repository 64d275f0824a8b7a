"""A W&B server on this machine: as much of one as a run needs to start, resume, log and finish."""

import gzip
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = "0" * 40


class Server(ThreadingHTTPServer):
    """Keeps what it is sent of one run; after the request ``last_words`` it answers no more.

    ``"nothing"``: it never answers; ``"500"``: it says so to everything.
    """

    daemon_threads = True

    def __init__(self, last_words=""):
        super().__init__(("127.0.0.1", 0), Handler)
        self.last_words, self.dumb = last_words, last_words == "nothing"
        self.patience = threading.Event()
        self.requests, self.rows, self.summary, self.view = [], [], {}, None

    def handle_error(self, request, client_address):
        """A client that hangs up is no error."""

    @property
    def environment(self):
        return {"WANDB_BASE_URL": f"http://127.0.0.1:{self.server_port}", "WANDB_API_KEY": KEY}

    def answer(self, name, variables):
        project = {"id": "p", "name": "p", "entity": {"id": "e", "name": "me"}}
        if "UpsertBucket" in name:
            bucket = {"id": "r", "name": variables["name"], "displayName": "d", "project": project}
            return {"upsertBucket": {"bucket": bucket | {"config": "{}"}, "inserted": True}}
        if "RunResumeStatus" in name:
            return {"model": project | {"bucket": self.bucket(variables["name"])}}
        if "CreateRunFiles" in name:
            url = self.environment["WANDB_BASE_URL"]
            files = [{"name": f, "uploadUrl": f"{url}/{f}"} for f in variables["files"]]
            return {"createRunFiles": {"runID": "r", "uploadHeaders": [], "files": files}}
        if "UpsertView" in name:
            self.view = variables
            return {
                "upsertView": {"view": {"id": "v", "name": variables["name"]}, "inserted": True}
            }
        if "Viewer" in name or "DefaultEntity" in name:
            me = {"id": "u", "entity": "me", "username": "me", "flags": "{}"}
            return {"viewer": me | {"teams": {"edges": []}}}
        return {}

    def bucket(self, name):
        """What is there to resume."""
        if not self.rows:
            return None
        counts = {"historyLineCount": len(self.rows), "logLineCount": 0, "eventsLineCount": 0}
        tails = {"historyTail": json.dumps([json.dumps(self.rows[-1])]), "eventsTail": "[]"}
        texts = {"summaryMetrics": json.dumps(self.summary), "wandbConfig": '{"t": 1}'}
        about = {"id": "r", "name": name, "displayName": "d", "config": "{}", "tags": []}
        return about | counts | tails | texts

    def take(self, files):
        """The lines of a file stream."""
        history = files.get("wandb-history.jsonl")
        if history:
            self.rows[history["offset"] :] = map(json.loads, history["content"])
        if "wandb-summary.json" in files:
            self.summary = json.loads(files["wandb-summary.json"]["content"][-1])


class Handler(BaseHTTPRequestHandler):
    """Answers GraphQL, takes file streams, and says yes to everything else."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Nothing."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        name, answer = self.path, {}
        if self.path == "/graphql":
            query = json.loads(body)
            name = re.search(r"(?:query|mutation) (\w+)", query["query"])[1]
            answer = {"data": self.server.answer(name, query.get("variables") or {})}
        elif self.path.endswith("file_stream"):
            self.server.take(json.loads(body).get("files") or {})
        self.reply(name, answer)

    def do_GET(self):
        self.reply(self.path, {})

    def do_PUT(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.reply(self.path, {})

    def reply(self, name, answer):
        self.server.requests.append(name)
        if self.server.dumb:
            self.server.patience.wait(60)
            return
        self.server.dumb = bool(self.server.last_words) and self.server.last_words in name
        body = json.dumps(answer).encode()
        self.send_response(500 if self.server.last_words == "500" else 200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def gone():
    """An address at which there was a server."""
    with serving() as server:
        pass
    yield server


@contextmanager
def serving(last_words=""):
    """A server for the length of a test."""
    server = Server(last_words)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.patience.set()
        server.shutdown()
        server.server_close()
        thread.join()
