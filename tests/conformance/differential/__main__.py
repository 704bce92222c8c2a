"""Ask both services the requests of a file, one a line as a failed check prints them, and show both answers.

`python -m tests.conformance.differential FILE`; OpenStack answers as it is, with none of its known errors mended.
"""

import argparse
import json
from pathlib import Path

from tests.conformance.differential.comparing import compare
from tests.conformance.differential.exchange import Ask
from tests.conformance.differential.openstack import OpenStack
from tests.conformance.differential.ours import Ours


def main() -> None:
    """Replay."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    lines = parser.parse_args().file.read_text().splitlines()
    ours, theirs = Ours(), OpenStack()
    for line in lines:
        if line.startswith("1."):
            ask = Ask.parse(line)
            found, mine, reference = compare(ask, ours, theirs)
            print(f"{ask}\n  {'differs' if found else 'the same'}", *found, sep="\n    ")
            print(f"  ours:   {mine.status} {json.dumps(mine.document)}")
            print(f"  theirs: {reference.status} {json.dumps(reference.document)}")
    ours.close()


if __name__ == "__main__":
    main()
