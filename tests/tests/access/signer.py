"""botocore for a test: signs requests of all shapes, or makes calls with chosen keys and clocks.

One JSON command on standard input, one JSON line per answer on standard output."""

import base64
import datetime
import json
import random
import socket
import sys
from urllib.parse import quote, urlsplit

import boto3
import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError, SSLError

CHARACTERS = "abcXYZ019-._~ !\"#$%&'()*+,/:;<=>?@[]^`{|}äß漢😀"


def text(rng, most=12):
    return "".join(rng.choice(CHARACTERS) for _ in range(rng.randint(1, most)))


def segment(rng):
    """A path segment as some client might send it: everything encoded, or only what must be."""
    while True:
        plain = text(rng)
        encoded = quote(plain, safe=rng.choice(["", "!$'()*,:;=@"]))
        if encoded.strip("."):
            return encoded


def shape(rng):
    """Service, method, path, query pairs, headers, body."""
    kind = rng.randrange(3)
    headers = []
    if kind == 0:
        method = rng.choice(["GET", "PUT", "DELETE", "POST"])
        path = "/v20190125/" + "/".join(segment(rng) for _ in range(rng.randint(1, 4)))
        path += rng.choice(["", "", "/"])
        pairs = [(text(rng), rng.choice([text(rng), ""])) for _ in range(rng.randrange(4))]
        pairs += pairs[:1] if rng.randrange(4) == 0 else []
        body = rng.choice(["", json.dumps({"meshName": text(rng)})])
        service = "appmesh"
    elif kind == 1:
        method, path, pairs, service = "POST", "/", [], "servicediscovery"
        headers.append(("X-Amz-Target", "Route53AutoNaming_v20170314." + rng.choice(["ListNamespaces", "GetService"])))
        headers.append(("Content-Type", "application/x-amz-json-1.1"))
        body = json.dumps({"Id": text(rng)}, ensure_ascii=rng.random() < 0.5)
    else:
        method, path, pairs, service = "POST", "/", [("x", text(rng))], "sts"
        headers.append(("Content-Type", "application/x-www-form-urlencoded; charset=utf-8"))
        body = "Action=GetCallerIdentity&Version=2011-06-15"
    words = ["plain", "  blanks  at   the ends  ", "a,b;c", '"quoted  text"', "", "x\ty"]
    for i in range(rng.randrange(4)):
        headers.append((rng.choice(["X-Amz-Meta-%d" % i, "My-Header%d" % i]), rng.choice(words)))
    if headers and rng.randrange(3) == 0 and headers[-1][0].startswith("My"):
        headers.append((headers[-1][0], rng.choice(words)))
    return service, method, path, pairs, headers, body.encode()


def sign(command):
    rng = random.Random(command["seed"])
    for _ in range(command["count"]):
        service, method, path, pairs, headers, body = shape(rng)
        token = command["token"] if rng.randrange(2) else None
        key, secret = (command["key"], command["secret"]) if token is None else command["temporary"]
        presigned = service != "servicediscovery" and rng.randrange(3) == 0
        if presigned:
            pairs, headers, body = dict(pairs).items(), [], b""
        query = "&".join(f"{quote(k, safe='-._~')}={quote(v, safe='-._~')}" for k, v in pairs)
        if service == "sts" and presigned:
            query += "&Action=GetCallerIdentity&Version=2011-06-15"
        url = f"http://{command['host']}{path}" + (f"?{query}" if query else "")
        request = AWSRequest(method=method, url=url, data=body)
        for name, value in headers:
            request.headers.add_header(name, value)
        if not presigned and rng.randrange(4) == 0:
            declared = "UNSIGNED-PAYLOAD" if command["unsigned"] else botocore.auth.sha256(body).hexdigest()
            request.headers["X-Amz-Content-SHA256"] = declared
        credentials = Credentials(key, secret, token)
        if presigned:
            botocore.auth.SigV4QueryAuth(credentials, service, command["region"], 60).add_auth(request)
        else:
            botocore.auth.SigV4Auth(credentials, service, command["region"]).add_auth(request)
        parts = urlsplit(request.url)
        answer({
            "method": method,
            "target": parts.path + (f"?{parts.query}" if parts.query else ""),
            "headers": [["host", parts.netloc]] + [[k, v] for k, v in request.headers.items()],
            "body": base64.b64encode(body).decode(),
            "presigned": presigned,
        })


def call(command):
    if command.get("skew"):
        clock = botocore.auth.get_current_datetime
        skew = datetime.timedelta(seconds=command["skew"])
        botocore.auth.get_current_datetime = lambda *a, **k: clock(*a, **k) + skew
    hosts = []
    if command.get("resolve"):
        # Names below this one are this machine.
        resolve = socket.getaddrinfo

        def nearby(host, *args, **kwargs):
            if host.endswith(command["resolve"]):
                hosts.append(host)
                host = "127.0.0.1"
            return resolve(host, *args, **kwargs)

        socket.getaddrinfo = nearby
    client = boto3.client(
        command["service"],
        region_name=command["region"],
        endpoint_url=command["endpoint"],
        aws_access_key_id=command["key"],
        aws_secret_access_key=command["secret"],
        aws_session_token=command.get("token"),
        verify=command.get("ca"),
        config=Config(retries={"total_max_attempts": 1}, inject_host_prefix=bool(command.get("resolve"))),
    )
    try:
        result = getattr(client, command["operation"])(**command["params"])
        result.pop("ResponseMetadata")
        answer({"ok": result})
    except SSLError as error:
        answer({"code": "SSLError", "message": str(error)})
    except ClientError as error:
        answer({
            "code": error.response["Error"]["Code"],
            "message": error.response["Error"].get("Message", ""),
            "status": error.response["ResponseMetadata"]["HTTPStatusCode"],
            "host": hosts[-1] if hosts else None,
        })


def presign(command):
    client = boto3.client(
        "sts",
        region_name=command["region"],
        endpoint_url=command["endpoint"],
        aws_access_key_id=command["key"],
        aws_secret_access_key=command["secret"],
    )
    url = client.generate_presigned_url("get_caller_identity", ExpiresIn=60, HttpMethod=command["method"])
    answer({"url": url})


def answer(value):
    print(json.dumps(value, default=str), flush=True)


command = json.loads(sys.stdin.readline())
{"sign": sign, "call": call, "presign": presign}[command["do"]](command)
