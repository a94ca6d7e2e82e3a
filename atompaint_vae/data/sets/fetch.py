"""PDB ids -> structure files, from a mirror of the archive.

A file in the folder is always complete: it is downloaded under a temporary name, checked, and then
moved. sha256.txt holds the hash of each file; a file that has changed since is fetched again.
"""

from __future__ import annotations

import gzip
import logging
import random
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pooch
import requests
from tqdm import tqdm

from atompaint_vae import __version__
from atompaint_vae.data.structures.formats import (
    EXPECTED,
    SUFFIXES,
    StructureError,
    describe_error,
    find_suffix,
)

# The Protein Data Bank's own archive.
DEFAULT_MIRROR = "https://files.wwpdb.org/pub/pdb/data/structures/divided/mmCIF/{mid}/{id}.cif.gz"
REGISTRY = "sha256.txt"
USER_AGENT = f"atompaint_vae/{__version__}"

FIRST_PAUSE_S = 1.0
MAX_PAUSE_S = 60.0
# After these, another attempt would get the same answer.
FINAL_CODES = frozenset({400, 401, 403, 404, 405, 410, 451})


class Failure(NamedTuple):
    """An entry that could not be fetched, and the reason in one line."""

    pdb_id: str
    reason: str


class Fetched(NamedTuple):
    """Ids by result: fetched now, fetched before, failed."""

    new: list[str]
    cached: list[str]
    failures: list[Failure]


class Pause:
    """A pause of all connections to a server, for as long as a busy server asks for."""

    def __init__(self):
        self._lock = threading.Lock()
        self._until_s = 0.0

    def extend(self, pause_s: float) -> None:
        with self._lock:
            self._until_s = max(self._until_s, time.monotonic() + pause_s)

    def wait(self) -> None:
        while (rest_s := self._until_s - time.monotonic()) > 0:
            time.sleep(rest_s)


def make_url(mirror: str, pdb_id: str) -> str:
    """Fill in the URL of an entry's file: {id}, {ID} and {mid}, the middle letters.

    raises: StructureError if the mirror is not such a pattern
    """
    try:
        url = mirror.format(id=pdb_id, ID=pdb_id.upper(), mid=pdb_id[-3:-1])
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        raise StructureError(
            f"mirror {mirror!r}: expected a URL with {{id}}, {{ID}} or {{mid}}"
        ) from error
    if urlsplit(url).scheme not in ("http", "https") or url == mirror:
        raise StructureError(f"mirror {mirror!r}: expected an http(s) URL with {{id}} or {{ID}}")
    if find_suffix(Path(urlsplit(url).path)) not in SUFFIXES:
        raise StructureError(f"mirror {mirror!r}: {EXPECTED}")
    return url


def fetch_structures(
    ids: list[str],
    folder: Path,
    *,
    mirror: str = DEFAULT_MIRROR,
    num_jobs: int = 4,
    timeout_s: int | float = 30,
    num_attempts: int = 5,
    first_pause_s: float = FIRST_PAUSE_S,
    progress: bool = False,
) -> Fetched:
    """Fetch the entries that aren't in the folder yet, several at a time.

    raises: StructureError if the mirror isn't a URL, or the folder can't be written
    """
    pooch.get_logger().setLevel(logging.ERROR)
    urls = {pdb_id: make_url(mirror, pdb_id) for pdb_id in ids}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        registry = _Registry(folder / REGISTRY)
    except OSError as error:
        raise StructureError(f"{folder}: {describe_error(error)}") from error
    pause = Pause()
    new, cached, failures = [], [], []

    def fetch(pdb_id: str) -> bool:
        url = urls[pdb_id]
        path = folder / Path(urlsplit(url).path).name
        if registry.holds(path):
            return False
        path.unlink(missing_ok=True)  # it has changed, but pooch would keep it
        _fetch_patiently(url, path, pause, timeout_s, num_attempts, first_pause_s)
        registry.add(path)
        return True

    with ThreadPoolExecutor(num_jobs) as executor:
        futures = {executor.submit(fetch, pdb_id): pdb_id for pdb_id in urls}
        try:
            for future in tqdm(
                as_completed(futures), total=len(futures), desc="fetch", disable=not progress
            ):
                pdb_id = futures[future]
                try:
                    (new if future.result() else cached).append(pdb_id)
                except StructureError as error:
                    failures.append(Failure(pdb_id, str(error)))
        except BaseException:
            executor.shutdown(cancel_futures=True)
            raise
    order = {pdb_id: place for place, pdb_id in enumerate(ids)}
    return Fetched(
        sorted(new, key=order.get), sorted(cached, key=order.get),
        sorted(failures, key=lambda failure: order[failure.pdb_id]),
    )  # fmt: skip


def _fetch_patiently(
    url: str,
    path: Path,
    pause: Pause,
    timeout_s: int | float,
    num_attempts: int,
    first_pause_s: float,
) -> None:
    """Download a file, with several attempts.

    Not pooch's own retries: those ask again after a 404, and ignore Retry-After.

    raises: StructureError with the last attempt's reason
    """
    for attempt in range(1, num_attempts + 1):
        pause.wait()
        try:
            _download(url, path, timeout_s)
            return
        except requests.HTTPError as error:
            code = error.response.status_code
            reason = f"{url}: the server answered {code} {error.response.reason}".rstrip()
            if code in FINAL_CODES:
                raise StructureError(reason) from error
            wait_s = _read_retry_after(error.response)
            if wait_s:
                pause.extend(min(wait_s, MAX_PAUSE_S))
        except (requests.RequestException, StructureError) as error:
            reason = f"{url}: {_describe_request(error)}"
        except OSError as error:
            raise StructureError(f"{path}: {describe_error(error)}") from error
        if attempt < num_attempts:
            # Random, so that connections that failed together don't retry together.
            longest_s = min(first_pause_s * 2 ** (attempt - 1), MAX_PAUSE_S)
            time.sleep(longest_s * random.uniform(0.5, 1))
    tries = "1 attempt" if num_attempts == 1 else f"{num_attempts} attempts"
    raise StructureError(f"{reason} ({tries})")


def _download(url: str, path: Path, timeout_s: int | float) -> None:
    http = pooch.HTTPDownloader(timeout=timeout_s, headers={"User-Agent": USER_AGENT})

    def download_and_check(url: str, output_file: str, *args, **kwargs) -> None:
        http(url, output_file, *args, **kwargs)
        _check_content(Path(output_file), path.name)

    # pooch writes a temporary file, and moves it into place unless an error is raised.
    pooch.retrieve(
        url, known_hash=None, fname=path.name, path=path.parent, downloader=download_and_check
    )


def _check_content(path: Path, name: str) -> None:
    """Check that a download is a whole structure file: some servers report no error otherwise.

    raises: StructureError
    """
    content = path.read_bytes()
    if name.endswith(".gz"):
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise StructureError(f"not the whole file: {describe_error(error)}") from error
    if not content.strip():
        raise StructureError("an empty file")
    if content.lstrip()[:1] == b"<":
        raise StructureError("a web page, not a structure")


def _read_retry_after(response: requests.Response) -> float:
    """Return the seconds to wait that the server asks for, 0 if it doesn't."""
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() else 0.0


def _describe_request(error: Exception) -> str:
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection ended before the file did"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    return describe_error(error)


class _Registry:
    """Hashes of the files in a folder, as pooch writes them: a name and a sha256 in each line."""

    def __init__(self, path: Path):
        self._path, self._lock = path, threading.Lock()
        lines = path.read_text().splitlines() if path.exists() else []
        # If a file was fetched again, its last line counts.
        self._hashes = dict(words for line in lines if len(words := line.split()) == 2)

    def holds(self, path: Path) -> bool:
        """Return whether the file exists and is unchanged since it was fetched."""
        known = self._hashes.get(path.name)
        return known is not None and path.exists() and pooch.file_hash(str(path)) == known

    def add(self, path: Path) -> None:
        sha256 = pooch.file_hash(str(path))
        with self._lock, self._path.open("a") as file:
            self._hashes[path.name] = sha256
            file.write(f"{path.name} {sha256}\n")
