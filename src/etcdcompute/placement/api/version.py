"""Microversions: 1.0 to 1.39, negotiated by the header `OpenStack-API-Version: placement 1.N`.

A version is the number behind the dot. What each brought is OpenStack's list:

     1  aggregates                         20  POST of a provider answers with it
     2  resource classes                   21  member_of for candidates
     3  member_of for providers            22  forbidden traits
     4  resources for providers            23  codes in errors
     5  DELETE of all inventories          24  member_of repeated
     6  traits                             25  granular groups
     7  PUT of a class without a body      26  reserved may equal total
     8  project and user of allocations    27  all classes in summaries
     9  usages                             28  consumer generations
    10  allocation candidates              29  nested providers in candidates
    11  link to allocations                30  reshaper
    12  allocations as a mapping           31  in_tree for candidates
    13  POST of allocations                32  member_of with "!"
    14  nested providers                   33  suffixes of any letters
    15  last-modified, cache-control       34  mappings
    16  limit                              35  root_required
    17  required traits of candidates      36  same_subtree
    18  required traits of providers       37  re-parenting
    19  generation with aggregates         38  consumer types
                                           39  any-of traits
"""

import re
from collections.abc import Mapping
from typing import Final

from etcdcompute.placement.api.problems import Problem

OLDEST: Final = 0
LATEST: Final = 39
HEADER: Final = "openstack-api-version"
SERVICE: Final = "placement"
_FORM = re.compile(r"(-?\d{1,9})\.(-?\d{1,9})")


def negotiate(headers: Mapping[str, str]) -> int:
    """Return the version asked for, the oldest where none is; 400 for what is no version, 406 for one not served."""
    asked = None
    for part in headers.get(HEADER, "").split(","):
        service, _, wanted = part.strip().partition(" ")
        if service.lower() == SERVICE and wanted:
            asked = wanted.strip()
    if asked is None:
        return OLDEST
    if asked == "latest":
        return LATEST
    form = _FORM.fullmatch(asked)
    if form is None:
        raise Problem(400, f"invalid version string: {asked}")
    major, minor = int(form[1]), int(form[2])
    if major != 1 or not OLDEST <= minor <= LATEST:
        raise Problem(
            406,
            f"Unacceptable version header: {asked}",
            extra={"max_version": text(LATEST), "min_version": text(OLDEST)},
        )
    return minor


def text(version: int) -> str:
    """Return the version as it is written."""
    return f"1.{version}"
