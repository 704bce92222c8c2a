"""What is said when apt cannot fetch a package."""

from pathlib import Path

import pytest

from guest import packages
from guest.errors import GuestError


def test_a_fetch_that_fails_says_what_an_old_index_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_command: object, **_options: object) -> None:
        raise GuestError("`apt-get download` failed: E: 404 Not Found")

    monkeypatch.setattr(packages, "_run", refuse)
    with pytest.raises(GuestError, match=r"404 Not Found; if apt's index is old, `apt-get update` as root renews it$"):
        packages.fetch([packages.Package("a", "1", "0" * 64)], tmp_path, progress=lambda _step: None)
