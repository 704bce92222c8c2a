r"""The regular expressions of JSON schemas, in Python's words.

In JSON Schema `$` is the very end. To Python it is also the place before a line break at the end, so that a name with
one would pass; Python's word for the end is \Z.
"""

import re
from typing import Any, Final

_END: Final = re.compile(r"\$(?=$|\|)")
# As it stands in sentences, which quote expressions as Python writes text.
_PYTHONS_END: Final = r"\\Z"


def to_python(schema: Any) -> Any:
    """Return a schema with its expressions as Python has to see them."""
    if isinstance(schema, list):
        return [to_python(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    translated = {key: to_python(value) for key, value in schema.items()}
    if isinstance(schema.get("pattern"), str):
        translated["pattern"] = _translate(schema["pattern"])
    if isinstance(schema.get("patternProperties"), dict):
        translated["patternProperties"] = {
            _translate(pattern): to_python(value) for pattern, value in schema["patternProperties"].items()
        }
    return translated


def as_written(sentence: str) -> str:
    """Return a sentence about such a schema with the expressions as they were."""
    return sentence.replace(_PYTHONS_END, "$")


def _translate(pattern: str) -> str:
    return _END.sub(r"\\Z", pattern)
