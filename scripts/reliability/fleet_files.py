"""What the servers of fleet.py are asked about: a folder of small files, some of which servers need to start,
and a web page. All of it is made anew for each run.
"""

import http.server
import json
import re
import sqlite3
import subprocess
import threading

# What is in the files and on the page that servers are asked for.
TEA = "first flush Darjeeling"


class Page(http.server.BaseHTTPRequestHandler):
    """The web page that servers are asked to fetch; everything else (robots.txt) is not there."""

    def do_GET(self):
        found = self.path == "/teas"
        body = f"<html><body><h1>Teas</h1><p>Buy {TEA}.</p></body></html>".encode() if found else b"not found"
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "text/html" if found else "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def serve_page():
    # In a thread: http.server waits for its clients, and is not worth writing again.
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/teas"


def make_files(folder):
    """The small files that servers are asked about, or need to start."""

    def write(path, text):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)

    write("tea.txt", f"buy {TEA}\n")
    entity = {"type": "entity", "name": "tea", "entityType": "note", "observations": [f"buy {TEA}"]}
    write("memory.jsonl", json.dumps(entity) + "\n")
    with sqlite3.connect(folder / "x.db") as database:
        database.execute("CREATE TABLE teas (name TEXT)")
        database.execute("INSERT INTO teas VALUES ('Darjeeling')")
    database.close()
    write("repo/tea.txt", f"{TEA}\n")
    author = ["-c", "user.name=fleet", "-c", "user.email=fleet@localhost", "-c", "commit.gpgsign=false"]
    for arguments in (
        ["init", "--quiet", "--initial-branch=main"],
        ["add", "."],
        ["commit", "--quiet", "-m", "Buy tea"],
    ):
        subprocess.run(["git", *author, *arguments], cwd=folder / "repo", check=True)
    write("eslint/tea.js", "const tea = 1;\n")
    write("eslint/eslint.config.js", 'module.exports = [{ rules: { "no-unused-vars": "error" } }];\n')
    write("cclsp.json", json.dumps({"servers": [{"extensions": ["py"], "command": ["true"]}]}))
    client = {"client_id": "dummy", "client_secret": "dummy", "redirect_uris": ["http://127.0.0.1"]}
    for path in ("gcp.json", ".gmail-mcp/gcp-oauth.keys.json"):
        write(path, json.dumps({"installed": client}))
    write("tea.drawio", '<mxfile><diagram id="1" name="Tea house"><mxGraphModel/></diagram></mxfile>')
    cluster = {"name": "tea-cluster", "cluster": {"server": "https://127.0.0.1:1"}}
    context = {"name": "tea-cluster", "context": {"cluster": "tea-cluster", "user": "tea"}}
    kubernetes = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [cluster],
        "contexts": [context],
        "current-context": "tea-cluster",
        "users": [{"name": "tea", "user": {"token": "dummy"}}],
    }
    for path in ("kubeconfig", ".kube/config"):
        write(path, json.dumps(kubernetes))


def fill(value, files, page):
    """Puts the folder and the page's address into arguments."""
    if isinstance(value, dict):
        return {key: fill(entry, files, page) for key, entry in value.items()}
    if isinstance(value, list):
        return [fill(entry, files, page) for entry in value]
    if isinstance(value, str):
        return re.sub(r"^DIR(?=/|$)", str(files), value).replace("{page}", page)
    return value
