"""The `aws` CLI: its real code, most of the time in this process, since each start of it takes half a second."""

import contextlib
import io
import json
import os
import subprocess
import sys

from awscli.clidriver import create_clidriver
from botocore import xform_name

from check import true
from kit import SERVICES, STS_OPERATIONS

PROGRAM = os.path.join(os.path.dirname(sys.executable), "aws")


class Cli:
    """Runs commands, and counts those that worked."""

    def __init__(self):
        self.succeeded = set()

    def text(self, *words):
        """What a command prints that must work."""
        status, output, errors = in_process(words)
        true(status == 0, f"aws {' '.join(words)}: status {status}: {errors}")
        self.succeeded.add(words[:2])
        return output

    def __call__(self, *words):
        """What a command answers that must work; None when it prints nothing."""
        output = self.text(*words, "--output", "json")
        return json.loads(output) if output.strip() else None

    def fail(self, code, *words):
        """A command that must be refused with this code."""
        status, output, errors = in_process(words)
        true(status != 0, f"aws {' '.join(words)} worked: {output}")
        true(f"An error occurred ({code})" in errors, f"aws {' '.join(words)}: no {code}: {errors}")

    def missing(self):
        """The commands of the CLI that never worked."""
        services = create_clidriver().create_help_command().command_table
        for service in SERVICES:
            commands = set(services[service].create_help_command().command_table)
            if service == "sts":
                commands &= {xform_name(operation, "-") for operation in STS_OPERATIONS}
            for command in sorted(commands):
                if (service, command) not in self.succeeded:
                    yield f"aws {service} {command}"


# Reads the models of the services, once for all commands.
LOADER = create_clidriver().session.get_component("data_loader")


def in_process(words):
    """Runs the CLI's own main function as its program does."""
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        driver = create_clidriver()
        driver.session.register_component("data_loader", LOADER)
        status = driver.main(list(words))
    return status, output.getvalue(), errors.getvalue()


def as_process(*words, **variables):
    """Runs the program itself."""
    done = subprocess.run(
        [PROGRAM, *words],
        env=os.environ | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def option(name):
    """The option of a member: `virtualNodeName` is `--virtual-node-name`."""
    return "--" + "".join("-" + letter.lower() if letter.isupper() else letter for letter in name).lstrip("-")


def options(members):
    """The words that say these members; what is no text is said as JSON."""
    for name, value in members.items():
        yield option(name)
        yield value if isinstance(value, str) else json.dumps(value)
