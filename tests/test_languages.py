import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchpush.pushes.languages import nearest_language

OURS = ("en", "fr", "pt-BR", "zh-Hans", "zh-Hant", "nb", "he", "id", "en-GB")


@pytest.mark.parametrize(
    ("written", "read_as"),
    [
        *dict.fromkeys(["pt_BR", "pt-br", "pt", "pt-PT", "pt_AO", "por"], "pt-BR").items(),
        *dict.fromkeys(["zh_Hans_CN", "zh-CN", "zh_CN", "zh", "zh-SG"], "zh-Hans").items(),
        *dict.fromkeys(["zh-TW", "zh-Hant-TW", "zh_HK", "zh-Hant-HK"], "zh-Hant").items(),
        *dict.fromkeys(["zh-MO", "zh_TW.Big5", "yue", "zh-yue-HK"], "zh-Hant").items(),
        *dict.fromkeys(["zh-cmn-Hans-CN", "cmn", "zh-Latn-CN"], "zh-Hans").items(),
        *dict.fromkeys(["en_GB", "EN-gb", "en-UK", "en-GB-oxendict"], "en-GB").items(),
        *dict.fromkeys(["en-AU", "en-US-u-ca-buddhist", "en_US_POSIX", "eng"], "en").items(),
        *dict.fromkeys(["iw", "iw_IL", "he", "heb"], "he").items(),
        *dict.fromkeys(["in", "in_ID", "ind"], "id").items(),
        *dict.fromkeys(["no", "no_NO", "nb-NO", "nn"], "nb").items(),
        *dict.fromkeys(["fr_FR.UTF-8", "FR", " fr ", "fr_FR@euro", "fr-CA", "fre"], "fr").items(),
        *dict.fromkeys(["fr-FR,fr;q=0.9", "fr:en", "fr-", "fr-CA-x-own"], "fr").items(),
        ("fr-x-" + "a" * 95, "fr"),
        # as Java's and Android's Locale.toString() has them
        *dict.fromkeys(
            ["zh_TW_#Hant", "zh_HK_#Hant", "zh__#Hant", "zh_CN_#Hant"], "zh-Hant"
        ).items(),
        *dict.fromkeys(["zh_TW_#Hant_x-java", "zh_MO_#Hant-u-nu-hanidec"], "zh-Hant").items(),
        *dict.fromkeys(["zh_CN_#Hans", "zh__#Hans", "zh_TW_#Hans"], "zh-Hans").items(),
        *dict.fromkeys(["en__POSIX", "en_US_WIN", "en_US_#u-ca-buddhist"], "en").items(),
        *dict.fromkeys(["no_NO_NY", "no_NO_NY_#Latn", "no_NO"], "nb").items(),
        # as .NET had them
        *dict.fromkeys(["zh-CHT", "zh-cht"], "zh-Hant").items(),
        *dict.fromkeys(["zh-CHS", "zh_chs"], "zh-Hans").items(),
        *dict.fromkeys(["sr-Latn", "sh", "fil", "tl", "mo", "es-419", "ja", "gsw"]).items(),
    ],
)
def test_the_nearest_language(written: str, read_as: str | None) -> None:
    assert nearest_language(written, OURS) == read_as


@pytest.mark.parametrize(
    ("written", "ours", "read_as"),
    [
        ("mo", ("en", "ro"), "ro"),
        ("th_TH_TH_#u-nu-thai", ("en", "th"), "th"),
        ("th_TH_TH", ("en", "th"), "th"),
        ("ja_JP_JP_#u-ca-japanese", ("en", "ja"), "ja"),
        ("no_NO_NY", ("nb", "nn"), "nn"),
        ("sr_ME_#Latn", ("sr", "sr-Latn"), "sr-Latn"),
        ("sr__#Latn", ("sr", "sr-Latn"), "sr-Latn"),
        ("tl", ("en", "fil"), "fil"),
        ("fil", ("en", "tl"), "tl"),
        ("he", ("en", "iw"), "iw"),
        ("nb", ("en", "no"), "no"),
        ("sh", ("sr", "sr-Latn"), "sr-Latn"),
        ("sr_RS@latin", ("sr", "sr-Latn"), "sr-Latn"),
        ("sr-ME", ("sr", "sr-Latn"), "sr-Latn"),
        ("sr-Latn", ("en", "sr"), "sr"),
        ("cnr", ("sr", "sr-Latn"), "sr-Latn"),  # Serbian as in Montenegro
        ("cnr-Cyrl", ("sr", "sr-Latn"), "sr"),
        ("prs", ("fa", "fa-AF"), "fa-AF"),  # Persian as in Afghanistan
        ("prs-IR", ("fa", "fa-AF"), "fa"),
        ("es-MX", ("es", "es-419"), "es-419"),
        ("es-MX", ("es", "es-ES"), "es"),
        ("es-419", ("en", "es"), "es"),
        ("pt-AO", ("pt-BR", "pt-PT"), "pt-PT"),
        ("pt", ("pt-PT", "pt-BR"), "pt-BR"),
        ("gsw", ("en", "de"), "de"),
        ("de", ("en", "de-CH", "de-AT"), "de-AT"),
        ("fr-FR", ("fr-CA", "fr"), "fr"),
        ("zh-Hant", ("en", "zh"), "zh"),
        ("zh-MO", ("zh-HK", "zh-TW"), "zh-HK"),
        ("zh-Hant-MY", ("zh-CN", "zh-HK"), "zh-HK"),  # the same script before the same language
        ("ZH-hant-hk", ("zh_Hant_HK", "zh_Hant"), "zh_Hant_HK"),
        ("fr", ("klingon", "fr-CA"), "fr-CA"),
        ("Klingon", ("klingon", "fr"), "klingon"),
        ("klingon-west", ("klingon_West", "fr"), "klingon_West"),
        ("klingon_west", ("klingon-West", "fr"), "klingon-West"),
    ],
)
def test_the_nearest_of_others(written: str, ours: tuple[str, ...], read_as: str) -> None:
    assert nearest_language(written, ours) == read_as


@pytest.mark.parametrize(
    "written",
    [
        "",
        " ",
        "C",
        "POSIX",
        "french",
        "français",
        "x-klingon",
        "fr-!!",
        "fr_notalanguage",
        "#Latn",
        "5",
        "fr-x-" + "a" * 96,
    ],
)
def test_what_is_no_language_is_said_to_be_none(written: str) -> None:
    with pytest.raises(
        ValueError, match=r"^is (not a known language|not a language tag|too long for a language)$"
    ):
        nearest_language(written, OURS)


@given(st.text(max_size=12) | st.text("enzhTWb-_.@09", max_size=12))
def test_whatever_is_wanted_is_one_of_ours_or_none(written: str) -> None:
    with contextlib.suppress(ValueError):
        assert nearest_language(written, OURS) in {*OURS, None}
