"""Profiles that a person can write under the example rules, however odd."""

from typing import Any

from hypothesis import strategies as st

from handlers.categories import CATEGORIES

CLOCKS = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.integers(0, 59))
QUIET_HOURS = st.fixed_dictionaries(
    {"start": CLOCKS, "end": CLOCKS}, optional={"enabled": st.booleans()}
)
INSTALL_IDS = st.from_regex(r"[!-~]{1,20}|[!-~]{128}", fullmatch=True)
LANGUAGES = st.sampled_from(
    ("en", "fr", "pt_BR", "fr_FR.UTF-8", "zh-Hant-TW", "iw", "..", "--", "_" * 35)
) | st.from_regex(r"[A-Za-z0-9_.-]{2,35}", fullmatch=True)
TIME_ZONES = st.sampled_from(
    ("UTC", "Europe/Paris", "europe/paris", "America", "/", "//", "Etc/GMT+12", "-" * 64)
) | st.from_regex(r"[A-Za-z0-9_+/-]{1,64}", fullmatch=True)


def firestore_profiles(user_id: str) -> st.SearchStrategy[dict[str, Any]]:
    """What `firestore.rules` lets a person make of their `users/{user_id}`."""
    return _profiles(user_id, st.lists(INSTALL_IDS, max_size=5), st.text(max_size=100))


def database_profiles(user_id: str) -> st.SearchStrategy[dict[str, Any]]:
    """What `database.rules.json` lets them make of it: lists with holes too, which are maps."""
    keys = st.sampled_from("01234")
    ids = st.lists(INSTALL_IDS, min_size=1, max_size=5) | st.dictionaries(
        keys, INSTALL_IDS, min_size=1, max_size=5
    )
    # Its lengths count emoji and the like as two.
    return _profiles(user_id, ids, st.text(max_size=50))


def accepted_profiles(user_id: str) -> st.SearchStrategy[dict[str, Any]]:
    """What either of the rules files accepts."""
    return firestore_profiles(user_id) | database_profiles(user_id)


def _profiles(
    user_id: str, install_ids: st.SearchStrategy[Any], names: st.SearchStrategy[str]
) -> st.SearchStrategy[dict[str, Any]]:
    batch = st.fixed_dictionaries(
        {"install_ids": install_ids}, optional={"custom_ids": st.just([user_id])}
    ) | st.just({"custom_ids": [user_id]})
    return st.fixed_dictionaries(
        {},
        optional={
            "display_name": names,
            "language": LANGUAGES,
            "time_zone": TIME_ZONES,
            "push_muted": st.booleans(),
            "push_preferences": st.dictionaries(
                st.sampled_from(sorted(CATEGORIES)), st.booleans(), min_size=1
            ),
            "quiet_hours": QUIET_HOURS,
            "batch": batch,
        },
    )
