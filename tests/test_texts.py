import json
from pathlib import Path

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

import batchpush.events.change
import handlers.texts
from batchpush import ConfigurationError
from batchpush.environment import settings
from handlers.texts import BYTES, TEXTS, Count, language_of, read_texts, say, shorten
from tests.pushes import PATIENT

DEFAULT = TEXTS[settings().default_language]


@pytest.mark.parametrize("language", TEXTS)
def test_every_language_says_everything_with_the_same_values(language: str) -> None:
    assert TEXTS[language].keys() == DEFAULT.keys()
    for key, text in TEXTS[language].items():
        assert text.values == DEFAULT[key].values, key
        assert text.plural == DEFAULT[key].plural, key


@pytest.mark.parametrize(
    ("language", "count", "said"),
    [
        ("en", Count(1), "1 new message"),
        ("en", Count(3), "3 new messages"),
        ("en", Count(21, or_more=True), "21+ new messages"),
        ("fr", Count(0), "0 nouveau message"),
        ("fr", Count(2), "2 nouveaux messages"),
        ("de", Count(2), "2 neue Nachrichten"),
        ("es", Count(2), "2 mensajes nuevos"),
        ("ja", Count(1), "新着メッセージが1件あります"),
        ("ja", Count(21, or_more=True), "新着メッセージが21+件あります"),
        ("pl", Count(1), "1 nowa wiadomość"),
        ("pl", Count(2), "2 nowe wiadomości"),
        ("pl", Count(5), "5 nowych wiadomości"),
        ("pl", Count(12), "12 nowych wiadomości"),
        ("pl", Count(21, or_more=True), "21+ nowych wiadomości"),
        ("pl", Count(22), "22 nowe wiadomości"),
        ("ar", Count(0), "لا رسائل جديدة"),
        ("ar", Count(1), "رسالة جديدة واحدة"),
        ("ar", Count(2), "رسالتان جديدتان"),
        ("ar", Count(3), "\u20683\u2069 رسائل جديدة"),
        ("ar", Count(11), "\u206811\u2069 رسالة جديدة"),
        ("ar", Count(21, or_more=True), "\u206821+\u2069 رسالة جديدة"),
        ("ar", Count(100), "\u2068100\u2069 رسالة جديدة"),
    ],
)
def test_a_number_has_the_form_that_the_language_gives_it(
    language: str, count: Count, said: str
) -> None:
    assert say("new_messages", language, sender="Ann", count=count).body == said


@pytest.mark.parametrize("language", TEXTS)
def test_every_number_can_be_said(language: str) -> None:
    for key in ("new_messages", "call_me_within"):
        for number in (*range(130), 1_000_000):
            count = Count(number)
            assert say(key, language, sender="Ann", count=count, minutes=count).body


@pytest.mark.parametrize(
    ("key", "language", "values", "said"),
    [
        # Arabic: each value is isolated, since it may be in another script or begin with a digit.
        (
            "friend_request",
            "ar",
            {"sender": "Ann (B)"},
            "وصلك طلب صداقة من \u2068Ann (B)\u2069",
        ),
        (
            "order_delivered_at",
            "ar",
            {"number": "B-77", "date": "الاثنين، 4 مايو", "time": "2:05 م CEST"},
            "وصل طلبك رقم \u2068B-77\u2069 يوم \u2068الاثنين، 4 مايو\u2069 "
            "الساعة \u20682:05 م CEST\u2069",
        ),
        # An Arabic name in another language must not turn its sentence around.
        (
            "friend_request",
            "en",
            {"sender": "ليلى"},
            "\u2068ليلى\u2069 would like to be your friend",
        ),
        (
            "friend_request",
            "ja",
            {"sender": "ليلى"},
            "\u2068ليلى\u2069さんから友達リクエストが届きました",
        ),
        ("friend_request", "ja", {"sender": "安"}, "安さんから友達リクエストが届きました"),
        ("friend_request", "pl", {"sender": "Łucja"}, "Łucja zaprasza Cię do grona znajomych"),
        # What is nothing but a value has no neighbours.
        ("new_message", "ar", {"sender": "Ann", "text": "Hello"}, "Hello"),
        ("new_message", "en", {"sender": "Ann", "text": "مرحبًا"}, "مرحبًا"),
        # A value cannot end its own isolation.
        ("friend_request", "ar", {"sender": "A\u2069\u2066"}, "وصلك طلب صداقة من \u2068A\u2069"),
    ],
)
def test_neighbours_in_other_scripts_stay_in_their_order(
    key: str, language: str, values: dict[str, str], said: str
) -> None:
    assert say(key, language, **values).body == said


def test_a_cut_closes_what_is_isolated() -> None:
    unread = say("message_unread", "ar", sender="Ann", text="Hello" * 100).body
    assert unread.endswith("H…\u2069")
    assert (unread.count("\u2068"), unread.count("\u2069")) == (1, 1)
    assert len(seen(unread)) == 240


def test_a_script_without_blanks_is_cut_between_characters_and_gets_no_blank() -> None:
    said = say("new_message", "ja", sender="安", text="長い文章。" * 60).body
    assert said == "長い文章。" * 47 + "長い文章…"


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
        ("ar_EG", "ar"),
        ("ar-AE", "ar"),
        ("arb", "ar"),
        ("ja_JP", "ja"),
        ("pl-PL", "pl"),
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


KANA, VOWELLED = "が", "بّ"  # か with a mark; a letter with a doubling mark


@pytest.mark.parametrize("character", ["a", FAMILY, THUMB, FLAG, ACCENT, KANA, VOWELLED])
def test_the_cut_never_goes_through_a_character(character: str) -> None:
    assert shorten(character * 5, 5) == character * 5
    assert shorten(character * 6, 5) == character * 4 + "…"


def seen(text: str) -> list[str]:
    """The characters that a reader counts."""
    return [each for each in regex.findall(r"\X", text) if each not in "\u2066\u2067\u2068\u2069"]


@PATIENT
@given(st.text(max_size=60) | st.text("ab\u2068\u2069\u0301", max_size=60), st.integers(1, 20))
def test_a_shortened_text_is_short_and_made_of_whole_characters(text: str, limit: int) -> None:
    short = shorten(text, limit)
    assert len(seen(short)) <= limit
    assert len(short.encode()) <= BYTES
    if len(seen(text)) <= limit:
        assert short == text
    else:
        assert short.removesuffix("\u2069").endswith("…")
        assert text.startswith(short.removesuffix("\u2069").removesuffix("…"))


def test_a_text_of_large_characters_is_cut_by_its_bytes_too() -> None:
    short = shorten(FAMILY * 200, 240)
    assert len(short.encode()) <= BYTES
    assert short == FAMILY * short.count(FAMILY) + "…"
