"""The fields of a result document as they stand in the schema, to be held against what was.

Run by itself it writes them down anew, for the present schema.
"""

import json
from pathlib import Path
from typing import Any

from lorabench.results.schema import SCHEMA, Result

NUMBER = SCHEMA.rpartition("/")[2]
WRITTEN = Path(__file__).parents[1] / f"data/schema{NUMBER}-fields.json"


def fields() -> dict[str, Any]:
    """Return what is required, of which type and from which values; not how it is described."""
    found: dict[str, Any] = _plain(Result.model_json_schema(by_alias=True))
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if not isinstance(value, dict):
        return value
    # A field may be called `title`; then it has a schema and no text.
    told = {key for key in ("title", "description") if isinstance(value.get(key), str)}
    return {key: _plain(one) for key, one in value.items() if key not in told}


if __name__ == "__main__":
    WRITTEN.write_text(json.dumps(fields(), indent=1, sort_keys=True) + "\n")
