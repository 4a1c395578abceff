"""Drives all commands of the `aws` CLI; ends with an error when an answer is wrong or a command is left out."""

import sys

from . import app_mesh, cloud_map, forms
from .program import Cli

cli = Cli()
for part in (app_mesh, cloud_map, forms):
    part.run(cli)
left_out = list(cli.missing())
if left_out:
    sys.exit("never worked: " + ", ".join(left_out))
print(f"aws: {len(cli.succeeded)} commands worked")
