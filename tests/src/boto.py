"""Calls AWS APIs for a test: one JSON call per line in, one JSON answer per line out."""

import json
import sys

import boto3
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import ClientError

clients = {}


def client(service, region):
    key = (service, region)
    if key not in clients:
        # One attempt: what a test sees is what the server answered.
        config = Config(retries={"total_max_attempts": 1})
        clients[key] = boto3.client(service, region_name=region, config=config)
    return clients[key]


def call(request):
    service = client(request["service"], request.get("region"))
    method = xform_name(request["operation"])
    if request.get("paginate"):
        pages = service.get_paginator(method).paginate(
            **request["params"], PaginationConfig={"PageSize": request["paginate"]}
        )
        return {"pages": [without_metadata(page) for page in pages]}
    return without_metadata(getattr(service, method)(**request["params"]))


def without_metadata(answer):
    return {key: value for key, value in answer.items() if key != "ResponseMetadata"}


for line in sys.stdin:
    try:
        answer = {"ok": call(json.loads(line))}
    except ClientError as error:
        answer = {
            "error": {
                "code": error.response["Error"]["Code"],
                "message": error.response["Error"].get("Message", ""),
                "status": error.response["ResponseMetadata"]["HTTPStatusCode"],
                "class": type(error).__name__,
                "members": {k: v for k, v in error.response.items() if k not in ("Error", "ResponseMetadata")},
            }
        }
    print(json.dumps(answer, default=lambda value: value.isoformat()), flush=True)
