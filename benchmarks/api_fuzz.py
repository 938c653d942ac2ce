"""The server against its own specification, longer than the tests do it.

    python benchmarks/api_fuzz.py --json [--examples 300] [--quick]

Starts a server (size S, random weights, no keys) and has schemathesis send what it makes of /openapi.json: each
endpoint gets so many requests that fit the schema or break it in one place, and chains of them. `failures` counts the
kinds of answers that are not what the document says (another status, another form, a crash); what schemathesis prints
says which. Needs the extra `test`.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from serving import ours_command
from sides import make_policy
from streaming_clients import free_port, running


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--quick", action="store_true", help="20 examples")
    parser.add_argument("--examples", type=int, default=300, help="requests of each kind to each endpoint (300)")
    parser.add_argument("--runtime", default="pytorch", choices=("onnx", "pytorch"), help="the decoder's (pytorch)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make_policy("S", Path(folder) / "model")
        port = free_port()
        command = [*ours_command(Path(folder) / "model", options), str(port), "--max-tokens", "8"]
        with running(command, port, dict(os.environ)):
            done = subprocess.run(
                [Path(sys.executable).parent / "schemathesis", "run", f"http://127.0.0.1:{port}/openapi.json",
                 "--max-examples", str(20 if options.quick else options.examples), "--seed", "0",
                 # options that are each in their range may contradict each other, which no schema can say
                 "--exclude-checks", "positive_data_acceptance", "--request-timeout", "60", "--no-color"],
                capture_output=True, text=True, cwd=folder)
    print(done.stdout[-6000:], file=sys.stderr)
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (generated|unique failures)", done.stdout)}
    figures = {"requests": counts.get("generated", 0), "failures": counts.get("unique failures", 0),
               "passed": done.returncode == 0}
    print(json.dumps(figures) if options.json else json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
