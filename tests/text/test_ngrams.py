import pytest

from tunesmith.text.ngrams import ngrams, normalize, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, World!", ["hello", "world"]),
        ("Ｆｕｌｌ ﬁne STRASSE straße", ["full", "fine", "strasse", "strasse"]),
        ("it's 3.50", ["it", "s", "3", "50"]),
        ("日本語 text", ["日", "本", "語", "text"]),
        ("snake_case", ["snake_case"]),
        ("+ - *", []),
        ("", []),
    ],
)
def test_words(text, expected):
    assert words(text) == expected


def test_normalize_is_stable_for_plain_text():
    assert normalize("plain text") == "plain text"


def test_ngrams():
    assert list(ngrams(["a", "b", "c"], 2)) == [("a", "b"), ("b", "c")]
    assert list(ngrams(["a"], 2)) == []
    with pytest.raises(ValueError, match="at least 1"):
        ngrams(["a"], 0)
