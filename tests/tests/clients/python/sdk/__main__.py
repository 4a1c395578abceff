"""Drives all operations with boto3; ends with an error when an answer is wrong or an operation is left out."""

import sys

from kit import Clients

from . import app_mesh, cloud_map, endpoint, failures, pages

clients = Clients()
for part in (app_mesh, cloud_map, pages, failures, endpoint):
    part.run(clients)

left_out = list(clients.missing())
if left_out:
    sys.exit("never answered with success: " + ", ".join(left_out))
silent = list(failures.unraised(clients))
if silent:
    sys.exit("never raised: " + ", ".join(silent))
counts = {service: len(operations) for service, operations in clients.succeeded.items()}
print(f"boto3: operations that worked: {counts}")
