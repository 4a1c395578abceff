"""Runs the real `aws` CLI for a test, many commands in one process: the words of a command as a JSON list per
line in, what came of it as a JSON object per line out."""

import contextlib
import io
import json
import sys
from urllib.parse import parse_qsl, urlsplit

from awscli.clidriver import create_clidriver

sent = []
received = []


def before_send(request, **_):
    url = urlsplit(request.url)
    target = request.headers.get("x-amz-target")
    sent.append(
        {
            "method": request.method,
            "path": url.path,
            "query": dict(parse_qsl(url.query, keep_blank_values=True)),
            "target": target.decode() if isinstance(target, bytes) else target,
            "body": json.loads(request.body) if request.body else None,
        }
    )


def after_call(http_response, parsed, **_):
    headers = http_response.headers
    exchange = {
        "status": http_response.status_code,
        "request": headers.get("x-amzn-requestid"),
        "type": headers.get("x-amzn-errortype"),
    }
    if "Error" in parsed:
        exchange["code"] = parsed["Error"]["Code"]
        exchange["message"] = parsed["Error"].get("Message")
        exchange["members"] = {k: v for k, v in parsed.items() if k not in ("Error", "ResponseMetadata")}
    received.append(exchange)


def run(words):
    sent.clear()
    received.clear()
    printed, complaint = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(complaint):
        try:
            status = driver.main(words)
        except SystemExit as end:
            status = end.code
    return {
        "status": status,
        "printed": printed.getvalue(),
        "complaint": complaint.getvalue().strip(),
        "sent": sent,
        "received": received,
    }


driver = create_clidriver()
driver.session.register("before-send", before_send)
driver.session.register("after-call", after_call)
for line in sys.stdin:
    print(json.dumps(run(json.loads(line))), flush=True)
