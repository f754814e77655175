import json
from collections.abc import Mapping
from pathlib import Path
from string import Formatter

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

import batchpush.events.change
import handlers.texts
from batchpush import ConfigurationError
from batchpush.environment import settings
from handlers.texts import BYTES, TEXTS, language_of, read_texts, say, shorten
from tests.pushes import PATIENT

DEFAULT = TEXTS[settings().default_language]


def placeholders(text: Mapping[str, str]) -> set[str]:
    return {name for part in text.values() for _, name, _, _ in Formatter().parse(part) if name}


@pytest.mark.parametrize("language", TEXTS)
def test_every_language_says_everything_with_the_same_values(language: str) -> None:
    assert TEXTS[language].keys() == DEFAULT.keys()
    for key, text in TEXTS[language].items():
        assert set(text) == {"title", "body"}
        assert placeholders(text) == placeholders(DEFAULT[key]), key


def test_the_values_stand_in_the_text_of_the_language() -> None:
    message = say("friend_request", "de", sender="Ann")
    assert message.title == "Neue Freundschaftsanfrage"
    assert message.body == "Ann möchte mit Ihnen befreundet sein"


def test_a_text_that_a_language_lacks_is_said_in_the_default_language(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(TEXTS["fr"], "game_turn")
    assert say("game_turn", "fr", game="Chess") == say("game_turn", "en", game="Chess")


FILES = {"en": '[greeting]\ntitle = "Hello"\nbody = "{sender} is here"\n'}


def folder(path: Path, **files: str) -> Path:
    for language, toml in (FILES | files).items():
        (path / f"{language}.toml").write_text(toml, encoding="utf-8")
    return path


def test_what_is_broken_in_one_language_is_said_in_the_default_one_and_logged_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = FILES["en"].replace("{sender}", "{sender")
    languages = read_texts(folder(tmp_path, fr=broken, de="[greeting"), "en")
    monkeypatch.setattr(handlers.texts, "LANGUAGES", languages)
    monkeypatch.setattr(
        handlers.texts, "TEXTS", {name: languages[name].texts for name in languages}
    )
    handlers.texts.log_if_broken.cache_clear()
    for language in ("fr", "de", "en", "fr"):
        assert say("greeting", language, sender="Ann").body == "Ann is here"
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["severity"], line["message"], line["data"]["file"]) for line in lines] == [
        ("ERROR", "text.broken", "handlers/texts/fr.toml"),
        ("ERROR", "text.broken", "handlers/texts/de.toml"),
    ]
    assert lines[0]["data"]["text"] == "greeting"
    assert lines[0]["data"]["problem"] == "body: expected '}' before end of string"
    handlers.texts.log_if_broken.cache_clear()


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        (FILES["en"].replace("{sender}", "sender}"), r"en.toml: \[greeting\] body: Single '}'"),
        ("[greeting", "handlers/texts/en.toml: is not TOML"),
    ],
)
def test_a_mistake_in_the_default_language_stops_the_deployment(
    tmp_path: Path, toml: str, said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        read_texts(folder(tmp_path, en=toml), "en")


def test_a_default_language_without_a_file_stops_the_deployment(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"DEFAULT_LANGUAGE: there is no .*/fr.toml"):
        read_texts(folder(tmp_path), "fr")


@pytest.mark.parametrize("value", ["{sender}", "{0.__class__}", "}{", "%s"])
def test_what_users_wrote_is_not_read_as_a_template(value: str) -> None:
    assert say("new_message_picture", "en", sender=value).title == value


@pytest.mark.parametrize(
    ("wanted", "language"),
    [
        ("fr", "fr"),
        ("fr-CA", "fr"),
        ("fr_CA", "fr"),
        ("FR", "fr"),
        ("en-GB", "en"),
        ("es-419", "es"),
        ("de_AT", "de"),
        ("tlh", "en"),
        ("", "en"),
        (None, "en"),
        (5, "en"),
        (["fr"], "en"),
        ("fr_FR.UTF-8", "fr"),
        ("pt_BR", "en"),
    ],
)
def test_the_nearest_language_is_spoken(wanted: object, language: str) -> None:
    assert language_of(wanted) == language


def test_the_languages_are_those_that_there_are_texts_in(monkeypatch: pytest.MonkeyPatch) -> None:
    assert language_of("pt_PT", ["en", "pt-BR"]) == "pt-BR"
    monkeypatch.setitem(TEXTS, "zh-Hant", {})
    assert language_of("zh_HK") == "zh-Hant"


def test_what_is_no_language_is_named_once_in_a_process(capsys: pytest.CaptureFixture[str]) -> None:
    batchpush.documents.warn_of_field.cache_clear()
    for wanted in ("français", "english", "ja", "fr", None):
        language_of(wanted)
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["data"] == {"field": "language"}


FAMILY, THUMB, FLAG, ACCENT = "👩‍👩‍👧‍👦", "👍🏽", "🇫🇷", "e\u0301"


@pytest.mark.parametrize("character", ["a", FAMILY, THUMB, FLAG, ACCENT])
def test_the_cut_never_goes_through_a_character(character: str) -> None:
    assert shorten(character * 5, 5) == character * 5
    assert shorten(character * 6, 5) == character * 4 + "…"


@PATIENT
@given(st.text(max_size=60), st.integers(1, 20))
def test_a_shortened_text_is_short_and_made_of_whole_characters(text: str, limit: int) -> None:
    short = shorten(text, limit)
    characters = regex.findall(r"\X", text)
    assert len(regex.findall(r"\X", short)) <= limit
    assert len(short.encode()) <= BYTES
    if len(characters) <= limit:
        assert short == text
    else:
        assert short.endswith("…")
        assert text.startswith(short.removesuffix("…"))


def test_a_text_of_large_characters_is_cut_by_its_bytes_too() -> None:
    short = shorten(FAMILY * 200, 240)
    assert len(short.encode()) <= BYTES
    assert short == FAMILY * short.count(FAMILY) + "…"
