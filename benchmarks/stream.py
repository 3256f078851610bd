"""CT instances that keep arriving at a steady rate, each one new, as on a busy afternoon.

    python -m benchmarks.stream --port 11112 --rate 50

Sends over one association that stays open, so that their study is never complete and no model asks for it, until its
standard input ends; then prints how many it sent in how many seconds.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.sender import Association, Part10, SendError
from models.reference.dicom import head_ct_study
from models.reference.identity import PHANTOM_UID_ROOT

_LEAST_OF_RATE = 0.9


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What was sent, and how long that took."""

    instances: int
    seconds: float

    @property
    def rate(self) -> float:
        """Instances a second."""
        return self.instances / self.seconds


class Stream:
    """What `streaming` yields; `sent` is known once the block has ended."""

    sent: Sent | None = None


@contextmanager
def streaming(port: int, rate: float) -> Iterator[Stream]:
    """Keep instances arriving while the block runs, from a process of its own.

    Raises
    ------
    SendError
        An instance was refused, or the rate was not kept: what was measured meanwhile was not under this load.
    """
    command = [sys.executable, "-m", "benchmarks.stream", "--port", str(port), "--rate", str(rate)]
    stream = Stream()
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        process.stdout.readline()  # it sends
        yield stream
    finally:
        told, _ = process.communicate(timeout=60)
    if process.returncode:
        raise SendError("the stream of instances broke off")
    stream.sent = Sent(**json.loads(told))
    if stream.sent.rate < _LEAST_OF_RATE * rate:
        raise SendError(f"only {stream.sent.rate:.0f} instances/s of {rate:g} were taken")


def send(port: int, aet: str, rate: float, stop: threading.Event) -> Sent:
    """Send one instance after the other, each when it is due, until told to stop."""
    [data_set] = head_ct_study(1, haemorrhage=False, slices=1)
    study = f"{PHANTOM_UID_ROOT}9.{int(time.time()) % 10**7}"
    data_set.StudyInstanceUID, data_set.SeriesInstanceUID = study, f"{study}.1"
    context = (str(data_set.SOPClassUID), str(data_set.file_meta.TransferSyntaxUID))
    association = Association(port, aet, [context])
    print("sending", flush=True)
    began, number = time.monotonic(), 0
    while not stop.is_set():
        number += 1
        data_set.SOPInstanceUID = data_set.file_meta.MediaStorageSOPInstanceUID = f"{study}.1.{number}"
        data_set.InstanceNumber = number
        file = io.BytesIO()
        data_set.save_as(file, enforce_file_format=True)
        part = Part10.read(memoryview(file.getvalue()))
        if status := association.exchange(association.lay_out(part, number % 65535 + 1)):
            raise SendError(f"status {status:04x}")
        stop.wait(max(0.0, began + number / rate - time.monotonic()))
    association.release()
    return Sent(instances=number, seconds=time.monotonic() - began)


def main() -> None:
    """Send until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--aet", default="ROI")
    parser.add_argument("--rate", type=float, default=50.0)
    options = parser.parse_args()
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
    sent = send(options.port, options.aet, options.rate, stop)
    print(json.dumps({"instances": sent.instances, "seconds": sent.seconds}))


if __name__ == "__main__":
    main()
