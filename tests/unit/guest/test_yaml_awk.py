"""The guest reads its seed with an awk program: it must understand what PyYAML and json write."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import guest

PROGRAM = Path(guest.__file__).parent / "files/root/usr/lib/etcdcompute-guest/yaml.awk"


def flatten(document: str) -> list[str]:
    done = subprocess.run(
        ["awk", "-f", str(PROGRAM)], input=document, text=True, capture_output=True, check=True, timeout=10
    )
    return done.stdout.splitlines()


def expected(value: Any, path: str = "") -> list[str]:
    """What the program should print, from the parsed document; empty containers say nothing or an empty value."""
    if isinstance(value, dict):
        return [line for key, item in value.items() for line in expected(item, f"{path}/{key}" if path else key)]
    if isinstance(value, list):
        items = enumerate(value)
        return [line for index, item in items for line in expected(item, f"{path}/{index}" if path else str(index))]
    text = "" if value is None else str(value)
    return [f"{path}={text.replace(chr(92), chr(92) * 2).replace(chr(10), chr(92) + 'n')}"]


# What stands in seeds: names, keys with blanks, addresses, comments' and quotes' characters in odd places.
TEXT = st.text("abcXYZ019 :#-'\"\\,[]{}&*!|>%@`/.=+_~", min_size=1, max_size=120)
NAME = st.from_regex(r"[a-z][a-z0-9_-]{0,8}", fullmatch=True)
DOCUMENT = st.dictionaries(
    NAME,
    st.recursive(
        TEXT,
        lambda inner: st.lists(inner, min_size=1, max_size=3) | st.dictionaries(NAME, inner, min_size=1, max_size=3),
        max_leaves=6,
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=60, deadline=None)
@given(DOCUMENT)
def test_what_pyyaml_writes_is_understood(document: dict[str, Any]) -> None:
    for flow in (False, None, True):
        text = yaml.safe_dump(document, sort_keys=False, default_flow_style=flow)
        assert flatten(text) == expected(document), text


@settings(max_examples=30, deadline=None)
@given(DOCUMENT, st.sampled_from([None, 2]))
def test_what_json_writes_is_understood(document: dict[str, Any], indent: int | None) -> None:
    assert flatten(json.dumps(document, indent=indent)) == expected(document)


@pytest.mark.parametrize(
    ("document", "lines"),
    [
        ("", []),
        ("---\n# nothing\n", []),
        ("#cloud-config\nhostname: web1  # the name\n", ["hostname=web1"]),
        ("k:\n- a\n- b\n", ["k/0=a", "k/1=b"]),
        ("k: |\n  one\n\n    two\nl: >-\n  three\n  four\n", ["k=one\\n\\n  two\\n", "l=three four"]),
        ("k: [a,\n  b, # c\n]\r\nl: ~\n", ["k/0=a", "k/1=b", "l="]),
        ("k:\n  - x: 1\n    y: 2\n  -\n    z: 3\n", ["k/0/x=1", "k/0/y=2", "k/1/z=3"]),
    ],
)
def test_what_people_write_is_understood(document: str, lines: list[str]) -> None:
    assert flatten(document) == lines
