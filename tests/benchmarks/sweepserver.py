"""As much of a W&B server as ``wandb sweep`` and ``wandb agent`` talk to, on this machine."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PROJECT = {"id": "1", "name": "orthornn", "entity": {"id": "2", "name": "me"}}


class SweepServer(ThreadingHTTPServer):
    """Keeps each sweep it is given, and hands the agents of a sweep the runs in ``trials``."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.sweeps = []
        self.trials = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def answer(self, query, variables):
        if "upsertSweep" in query:
            self.sweeps.append(variables["config"])
            sweep = {"name": "sweep", "project": PROJECT}
            return {"upsertSweep": {"sweep": sweep, "configValidationWarnings": []}}
        if "createAgent" in query:
            return {"createAgent": {"agent": {"id": "agent"}}}
        if "agentHeartbeat" in query:
            commands = [self.trials.pop(0)] if self.trials else []
            beat = {"agent": {"id": "agent"}, "commands": json.dumps(commands)}
            return {"agentHeartbeat": beat}
        if "sweep(" in query:
            runs = {"edges": [], "pageInfo": {"endCursor": None, "hasNextPage": False}}
            sweep = {"id": "3", "name": "sweep", "state": "RUNNING", "runs": runs}
            sweep |= {"method": "bayes", "config": self.sweeps[-1], "description": None}
            return {"project": {"id": "1", "sweep": sweep}}
        viewer = {
            "id": "2",
            "entity": "me",
            "username": "me",
            "flags": "{}",
            "teams": {"edges": []},
        }
        return {"viewer": viewer, "serverInfo": {"cliVersionInfo": "{}", "features": []}}


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        asked = json.loads(body) if self.path == "/graphql" else {}
        data = self.server.answer(asked["query"], asked.get("variables")) if asked else {}
        content = json.dumps({"data": data}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        """Nothing on the screen."""
