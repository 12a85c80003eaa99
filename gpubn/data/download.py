"""Download one file of a dataset from the first mirror that has it."""

import gzip
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from gpubn.data.idx import GZIP_MAGIC, payload_of
from gpubn.errors import DataError, DataUnavailableError
from gpubn.files import write_atomic

TIMEOUT = (3.0, 10.0)
"""Seconds to connect, and to wait for more."""
_AS_IT_IS = {"Accept-Encoding": "identity"}
"""Otherwise a server may compress the .gz file once more."""


def download(mirrors: Sequence[str], name: str, target: Path, sha256: str, size: int) -> None:
    """Write the IDX file `name` to `target`, or leave `target` as it is and raise.

    A mirror is the beginning of its address, and `.gz` ends it.
    `sha256` and `size` are those of the decompressed payload, which is verified before anything
    is written. The content is compressed by gzip if and only if `target` ends in .gz. A progress
    bar shows where standard error is a terminal.

    Raises:
        DataUnavailableError: no mirror has it; says of each why.
    """
    from pooch import HTTPDownloader  # here: whoever has the file needs neither
    from requests import HTTPError, RequestException

    get = HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=TIMEOUT, headers=_AS_IT_IS)
    failures = []
    for mirror in mirrors:
        body = io.BytesIO()
        try:
            get(f"{mirror}{name}.gz", body, None)
            payload = payload_of(body.getvalue(), sha256, "what it sent", size + 1)
        except HTTPError as error:
            failures.append((mirror, f"HTTP status {error.response.status_code}"))
        except RequestException as error:  # whose text names objects of its own
            failures.append((mirror, type(error).__name__))
        except DataError as error:
            failures.append((mirror, str(error)))
        else:
            write_atomic(target, _encoded(body.getvalue(), payload, target))
            return
    reasons = "; ".join(f"{urlsplit(mirror).netloc}: {why}" for mirror, why in failures)
    raise DataUnavailableError(f"{name} cannot be downloaded from any mirror ({reasons})")


def _encoded(body: bytes, payload: bytes, target: Path) -> bytes:
    if target.suffix != ".gz":
        return payload
    return body if body.startswith(GZIP_MAGIC) else gzip.compress(payload, mtime=0)
