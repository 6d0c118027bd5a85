"""The README's five-minute tour, run as written, each command compared with the output that the README shows."""

import os
import re
import subprocess

import pytest

from server import ROOT, Server, binary


@pytest.mark.timeout(300)
def test_the_tour_of_the_readme_works_as_written(tmp_path):
    text = (ROOT / "README.md").read_text()
    tour = text.split("<!-- tour: begin -->")[1].split("<!-- tour: end -->")[0]
    steps = re.findall(r"```sh\n(.*?)```(?:\n+```text\n(.*?)```)?", tour, flags=re.S)
    assert len(steps) >= 5
    server = Server(tmp_path / "data")
    server.addresses = {"kafka": "127.0.0.1:9092", "aws": "127.0.0.1:4566", "admin": "127.0.0.1:9600"}
    server.start()
    # The tour calls `duolog` as it stands after an installation.
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "duolog").symlink_to(binary())
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    script = ["set -euo pipefail", f"cd '{tmp_path}'"]
    for number, (command, _) in enumerate(steps):
        script += [f"echo '<<step {number}>>'", command]
    done = subprocess.run(["bash", "-c", "\n".join(script)], capture_output=True, text=True, env=environment, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    answers = re.split(r"<<step \d+>>\n", done.stdout)[1:]
    for (command, expected), answer in zip(steps, answers, strict=True):
        if expected:
            assert normal(answer) == normal(expected), f"after:\n{command}"
    assert server.stop() == 0


def normal(output: str) -> str:
    return "\n".join(line.rstrip() for line in output.strip().splitlines())
