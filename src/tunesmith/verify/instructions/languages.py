"""The language of a text, by langdetect (Nakatani Shuyo's method) with a fixed seed.

It is the extra `ifeval`. Without it, instructions about languages are SKIPPED by name: there is no guess.
"""

import functools
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from langdetect.detector_factory import DetectorFactory


def can_detect() -> bool:
    """Whether langdetect is installed."""
    return importlib.util.find_spec("langdetect") is not None


@functools.lru_cache(maxsize=64)
def language_of(text: str) -> str | None:
    """The ISO 639-1 code of the likeliest language (Chinese is zh-cn or zh-tw); None where no letter tells.

    Equal texts have equal languages: langdetect draws at random, here always from seed 0 and from a factory of its
    own, so that nobody else's setting matters.
    """
    from langdetect.lang_detect_exception import LangDetectException

    detector = _factory().create()
    detector.append(text)
    try:
        return str(detector.detect())
    except LangDetectException:
        return None


@functools.lru_cache(maxsize=1)
def _factory() -> "DetectorFactory":
    from langdetect.detector_factory import PROFILES_DIRECTORY, DetectorFactory

    factory = DetectorFactory()
    # Sorted, because sums of floats depend on the order of the languages.
    profiles = sorted(path for path in Path(PROFILES_DIRECTORY).iterdir() if path.is_file())
    factory.load_json_profile([path.read_text(encoding="utf-8") for path in profiles])
    factory.seed = 0
    return factory
