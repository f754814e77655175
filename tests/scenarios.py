"""What people do under the example rules, and whether they may: the same in both databases."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

YES, NO = True, False
NOBODY = None  # not signed in
NOW = "the time of the write, which the database sets"

# Ann, Bob and Cat talk. Ann is a friend of Bob, of Cat and of Dan, which is written down in one
# way each. She asked Fay, who has not answered, and Gus, who declined; she took back what she had
# asked Hal just now, and Ida days ago. Lou left. Eve has nothing to do with any of them.
PEOPLE = ("ann", "bob", "cat", "dan", "eve", "fay", "gus", "hal", "ida", "lou", "max", "ned")
TALKING = ("ann", "bob", "cat")
TODAY = datetime.now(UTC).replace(microsecond=0)
HOURS_AGO, DAYS_AGO = TODAY - timedelta(hours=23), TODAY - timedelta(hours=25)

WORLD: Mapping[str, Mapping[str, Any]] = {
    **{f"users/{user_id}": {"display_name": user_id.title()} for user_id in PEOPLE},
    "users/max": {
        "display_name": "Max",
        "batch": {"custom_ids": ["max-at-batch"], "tokens": ["t"], "advertising_ids": ["a"]},
    },
    "users/ned": {"display_name": "Ned", "push_preferences": {"fax": False, "game_turn": True}},
    "users/ann/notifications/d1": {"body": "Hello", "read": False},
    "users/ann/friend_requests/bob": {"status": "accepted"},
    "users/ann/friends/cat": {"since": 2026},
    "users/dan/friend_requests/ann": {"status": "accepted"},
    "users/fay/friend_requests/ann": {"status": "pending"},
    "users/gus/friend_requests/ann": {"status": "declined"},
    "users/hal/friend_requests/ann": {"status": "withdrawn", "updated_at": HOURS_AGO},
    "users/ida/friend_requests/ann": {"status": "withdrawn", "updated_at": DAYS_AGO},
    "conversations/c": {"member_ids": [*TALKING], "muted_by": ["bob"]},
    "conversations/c/invitations/ned": {},
    "conversations/c/invitations/dan": {},
    "conversations/c/messages/m": {"sender_id": "ann", "text": "Hi", "unread_by": {"bob": False}},
    "conversations/c/messages/to-lou": {
        "sender_id": "ann",
        "text": "Hi",
        "recipient_ids": ["lou", "bob"],
    },
}


def database_world(documents: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The same documents as the Realtime Database has them: its paths, with their values."""
    return {database_path(path): database_fields(path, f) for path, f in documents.items()}


def database_path(path: str) -> str:
    match path.split("/"):
        case ["users", user_id, collection, other_id]:
            return f"{collection}/{user_id}/{other_id}"
        case ["conversations", conversation_id, collection, other_id]:
            return f"{collection}/{conversation_id}/{other_id}"
    return path


def database_fields(path: str, fields: Mapping[str, Any]) -> Any:
    values: dict[str, Any] = {
        name: int(value.timestamp() * 1000) if isinstance(value, datetime) else value
        for name, value in fields.items()
    }
    if "member_ids" in values:
        values["members"] = dict.fromkeys(values.pop("member_ids"), True)
        values["muted_by"] = dict.fromkeys(values.get("muted_by", ()), True)
    return values or True


class Act(NamedTuple):
    """The same thing to do, in Firestore and as an update of the Realtime Database."""

    does: str
    path: str
    fields: Mapping[str, Any]
    database: Mapping[str, Any]


def starts(conversation_id: str, *member_ids: str, muted_by: tuple[str, ...] = ()) -> Act:
    path = f"conversations/{conversation_id}"
    fields = {"member_ids": list(member_ids), "muted_by": list(muted_by)}
    return Act("create", path, fields, {path: database_fields(path, fields)})


def has_members(member: str, *member_ids: str, conversation_id: str = "c") -> Act:
    """`member` comes to be in a conversation, or not to be in it any more."""
    path = f"conversations/{conversation_id}"
    is_in = True if member in member_ids else None
    database = {f"{path}/members/{member}": is_in}
    return Act("update", path, {"member_ids": list(member_ids)}, database)


def mutes(user_id: str, *muted_by: str) -> Act:
    is_muted = True if user_id in muted_by else None
    database = {f"conversations/c/muted_by/{user_id}": is_muted}
    return Act("update", "conversations/c", {"muted_by": list(muted_by)}, database)


def invites(user_id: str, conversation_id: str = "c") -> Act:
    path = f"conversations/{conversation_id}/invitations/{user_id}"
    return Act("create", path, {}, {database_path(path): True})


def uninvites(user_id: str) -> Act:
    path = f"conversations/c/invitations/{user_id}"
    return Act("delete", path, {}, {database_path(path): None})


def says(fields: Mapping[str, Any], message_id: str = "new", conversation_id: str = "c") -> Act:
    path = f"conversations/{conversation_id}/messages/{message_id}"
    return Act("create", path, fields, {database_path(path): fields})


def changes(fields: Mapping[str, Any], message_id: str = "m") -> Act:
    """Of a message; `unread_by.bob` is what Bob marked."""
    path = f"conversations/c/messages/{message_id}"
    database = {f"messages/c/{message_id}/{k.replace('.', '/')}": v for k, v in fields.items()}
    return Act("update", path, fields, database)


def unsays(message_id: str = "m") -> Act:
    path = f"conversations/c/messages/{message_id}"
    return Act("delete", path, {}, {database_path(path): None})


def asks(user_id: str, sender_id: str, status: str = "pending") -> Act:
    path = f"users/{user_id}/friend_requests/{sender_id}"
    return Act("set", path, {"status": status}, {database_path(path): {"status": status}})


def answers(user_id: str, sender_id: str, status: str) -> Act:
    path = f"users/{user_id}/friend_requests/{sender_id}"
    return Act("update", path, {"status": status}, {f"{database_path(path)}/status": status})


def withdraws(user_id: str, sender_id: str, at: Any = NOW) -> Act:
    path = f"users/{user_id}/friend_requests/{sender_id}"
    fields = {"status": "withdrawn", "updated_at": at}
    database = {f"{database_path(path)}/{k}": v for k, v in database_fields(path, fields).items()}
    return Act("update", path, fields, database)


def forgets(user_id: str, sender_id: str) -> Act:
    path = f"users/{user_id}/friend_requests/{sender_id}"
    return Act("delete", path, {}, {database_path(path): None})


def befriends(user_id: str, friend_id: str) -> Act:
    path = f"users/{user_id}/friends/{friend_id}"
    return Act("create", path, {}, {database_path(path): True})


def sets(user_id: str, fields: Mapping[str, Any]) -> Act:
    """Fields of a profile; `batch.install_ids` is one of its lists."""
    database = {f"users/{user_id}/{k.replace('.', '/')}": v for k, v in fields.items()}
    return Act("update", f"users/{user_id}", fields, database)


class Scenario(NamedTuple):
    says: str
    who: str | None
    act: Act
    may: bool

    def __str__(self) -> str:
        return f"{self.act.path[:40]}: {self.says}"


HELLO = {"sender_id": "ann", "text": "Hello"}
ASCII_128 = "x" * 128
# A path of these names another one, or none, to whoever decodes it once more.
DISGUISED = ("%76ictim", "%2e%2e", "a%2fb", "100%")
TOO_LONG = ("x" * 129, "é" * 128, "x" * 700)

CONVERSATIONS = [
    Scenario("alone", "ann", starts("new", "ann"), YES),
    Scenario("with a friend who asked", "ann", starts("new", "ann", "bob"), YES),
    Scenario("with a friend that a back end knows", "ann", starts("new", "ann", "cat"), YES),
    Scenario("with a friend who accepted", "ann", starts("new", "ann", "dan"), YES),
    Scenario("by the one who accepted", "dan", starts("new", "ann", "dan"), YES),
    Scenario("with three friends", "ann", starts("new", "bob", "cat", "dan", "ann"), YES),
    Scenario("and muted", "ann", starts("new", "ann", "bob", muted_by=("ann",)), YES),
    Scenario("and muted for the other", "ann", starts("new", "ann", "bob", muted_by=("bob",)), NO),
    Scenario("with a stranger", "eve", starts("new", "eve", "ann"), NO),
    Scenario("with a friend and a stranger", "ann", starts("new", "ann", "bob", "eve"), NO),
    Scenario("with one who has not answered", "ann", starts("new", "ann", "fay"), NO),
    Scenario("by one who has not answered", "fay", starts("new", "ann", "fay"), NO),
    Scenario("with one who declined", "ann", starts("new", "ann", "gus"), NO),
    Scenario("with one who is asked no more", "ann", starts("new", "ann", "hal"), NO),
    Scenario("with a friend's friend", "bob", starts("new", "bob", "cat"), NO),
    Scenario("with an id at Batch", "ann", starts("new", "ann", "max-at-batch"), NO),
    Scenario("of others", "eve", starts("new", "ann", "bob"), NO),
    Scenario("of friends without oneself", "ann", starts("new", "bob", "cat"), NO),
    Scenario("by nobody", NOBODY, starts("new", "ann", "bob"), NO),
    Scenario("in place of another", "ann", starts("c", "ann", "bob"), NO),
    Scenario("the longest id", "ann", starts(ASCII_128, "ann"), YES),
    *(Scenario("a long id", "ann", starts(new_id, "ann"), NO) for new_id in TOO_LONG),
    *(Scenario("a disguised id", "ann", starts(new_id, "ann"), NO) for new_id in DISGUISED),
    Scenario("invited", "ned", has_members("ned", *TALKING, "ned"), YES),
    Scenario("a friend of a member, invited", "dan", has_members("dan", *TALKING, "dan"), YES),
    Scenario("a stranger joins", "eve", has_members("eve", *TALKING, "eve"), NO),
    Scenario("a friend joins, not invited", "lou", has_members("lou", *TALKING, "lou"), NO),
    Scenario("nobody joins", NOBODY, has_members("ned", *TALKING, "ned"), NO),
    Scenario("a member adds a friend", "ann", has_members("dan", *TALKING, "dan"), NO),
    Scenario("a stranger adds one invited", "eve", has_members("ned", *TALKING, "ned"), NO),
    Scenario("leaving", "bob", has_members("bob", "ann", "cat"), YES),
    Scenario("leaving who is muted", "cat", has_members("cat", "ann", "bob"), YES),
    Scenario("a member removes another", "ann", has_members("bob", "ann", "cat"), NO),
    Scenario("a stranger removes a member", "eve", has_members("bob", "ann", "cat"), NO),
    Scenario("a member invites", "bob", invites("eve"), YES),
    Scenario("a stranger invites herself", "eve", invites("eve"), NO),
    Scenario("one invited invites", "ned", invites("eve"), NO),
    Scenario("a member invites an id at Batch", "ann", invites("max-at-batch"), NO),
    Scenario("a member invites nobody", "ann", invites("%76ictim"), NO),
    Scenario("declined", "ned", uninvites("ned"), YES),
    Scenario("taken back", "ann", uninvites("ned"), YES),
    Scenario("a stranger takes it back", "eve", uninvites("ned"), NO),
    Scenario("ann mutes", "ann", mutes("ann", "bob", "ann"), YES),
    Scenario("bob unmutes", "bob", mutes("bob"), YES),
    Scenario("a member mutes another", "ann", mutes("cat", "bob", "cat"), NO),
    Scenario("a member unmutes another", "ann", mutes("bob"), NO),
    Scenario("a stranger mutes", "eve", mutes("eve", "bob", "eve"), NO),
    Scenario("nobody mutes", NOBODY, mutes("bob"), NO),
]

ME = "unread_by.bob"
MESSAGES = [
    Scenario("a member writes", "ann", says(HELLO), YES),
    Scenario("to one member", "ann", says({**HELLO, "recipient_ids": ["bob"]}), YES),
    Scenario("to a stranger", "ann", says({**HELLO, "recipient_ids": ["eve"]}), NO),
    Scenario("to more than members", "ann", says({**HELLO, "recipient_ids": ["bob", "eve"]}), NO),
    Scenario("to who is not in it yet", "ann", says({**HELLO, "recipient_ids": ["ned"]}), NO),
    Scenario("as another member", "bob", says(HELLO), NO),
    Scenario("as a member, by a stranger", "eve", says(HELLO), NO),
    Scenario("a stranger writes", "eve", says({**HELLO, "sender_id": "eve"}), NO),
    Scenario("one invited writes", "ned", says({**HELLO, "sender_id": "ned"}), NO),
    Scenario("nobody writes", NOBODY, says(HELLO), NO),
    Scenario("where there is no conversation", "ann", says(HELLO, conversation_id="x"), NO),
    Scenario("marked for others at once", "ann", says({**HELLO, "unread_by": {"bob": True}}), NO),
    Scenario("with the time of the write", "ann", says({**HELLO, "sent_at": NOW}), YES),
    Scenario("with another time", "ann", says({**HELLO, "sent_at": 5}), NO),
    Scenario("the longest text", "ann", says({**HELLO, "text": "x" * 4000}), YES),
    Scenario("a text that is too long", "ann", says({**HELLO, "text": "x" * 4001}), NO),
    Scenario("a long picture", "ann", says({**HELLO, "image_url": "https://a/" + "x" * 2048}), NO),
    Scenario("no https", "ann", says({**HELLO, "image_url": "http://example.com/a"}), NO),
    Scenario("a space", "ann", says({**HELLO, "image_url": "https://example.com/a b"}), NO),
    Scenario("the longest id", "ann", says(HELLO, ASCII_128), YES),
    *(Scenario("a long id", "ann", says(HELLO, new_id), NO) for new_id in TOO_LONG),
    *(Scenario("a disguised id", "ann", says(HELLO, new_id), NO) for new_id in DISGUISED),
    Scenario("unread for oneself", "bob", changes({ME: True}), YES),
    Scenario("read by oneself", "bob", changes({ME: False}), YES),
    Scenario("unread for oneself only", "cat", changes({"unread_by.cat": True}), YES),
    Scenario("unread for another", "cat", changes({ME: True}), NO),
    Scenario(
        "unread for oneself and another", "cat", changes({ME: True, "unread_by.cat": True}), NO
    ),
    Scenario("read by another", "cat", changes({"unread_by.dan": False}), NO),
    Scenario("unread, says its sender", "ann", changes({"unread_by.ann": True}), NO),
    Scenario("unread for another, says its sender", "ann", changes({ME: True}), NO),
    Scenario("unread, says a stranger", "eve", changes({"unread_by.eve": True}), NO),
    Scenario("unread, says one who left", "lou", changes({"unread_by.lou": True}, "to-lou"), NO),
    Scenario("unread, says one invited", "ned", changes({"unread_by.ned": True}), NO),
    Scenario("unread, says nobody", NOBODY, changes({ME: True}), NO),
    Scenario("a mark that is a text", "bob", changes({ME: "true"}), NO),
    Scenario("a mark that is a number", "bob", changes({ME: 1}), NO),
    Scenario("the mark taken away", "bob", changes({ME: None}), NO),
    Scenario("all marks at once", "bob", changes({"unread_by": {"bob": True, "cat": True}}), NO),
    Scenario("marks that are none", "bob", changes({"unread_by": "bob"}), NO),
    Scenario("of no message", "bob", changes({ME: True}, "none"), NO),
    *(
        Scenario(f"unread_message {mark} for all", who, changes({"unread_message": mark}), NO)
        for who in ("ann", "bob", "eve")
        for mark in (True, False)
    ),
    Scenario("marked and changed", "bob", changes({ME: True, "text": "x"}), NO),
    Scenario("its text changed by its sender", "ann", changes({"text": "x"}), NO),
    Scenario("sent on", "bob", changes({"recipient_ids": ["cat"]}), NO),
    Scenario("deleted by its sender", "ann", unsays(), YES),
    Scenario("deleted by its reader", "bob", unsays(), NO),
    Scenario("deleted by a stranger", "eve", unsays(), NO),
]

FRIENDS = [
    Scenario("asked", "eve", asks("ann", "eve"), YES),
    Scenario("asked by another", "bob", asks("ann", "eve"), NO),
    Scenario("asked by the one who is asked", "ann", asks("ann", "eve"), NO),
    Scenario("asked by nobody", NOBODY, asks("ann", "eve"), NO),
    Scenario("asked oneself", "ann", asks("ann", "ann"), NO),
    Scenario("asked and accepted", "eve", asks("ann", "eve", "accepted"), NO),
    Scenario("withdrawn before it was asked", "eve", asks("ann", "eve", "withdrawn"), NO),
    Scenario("asked where nobody is", "eve", asks("nowhere", "eve"), NO),
    Scenario("asked by an id at Batch", "eve", asks("max-at-batch", "eve"), NO),
    *(Scenario("asked by a disguised id", "eve", asks(i, "eve"), NO) for i in DISGUISED),
    *(Scenario("asked by a long id", "eve", asks(i, "eve"), NO) for i in TOO_LONG),
    Scenario("asked once more", "ann", asks("fay", "ann"), NO),
    Scenario("asked again, who declined", "ann", asks("gus", "ann"), NO),
    Scenario("asked again within a day", "ann", asks("hal", "ann"), NO),
    Scenario("asked again in place", "ann", asks("ida", "ann"), NO),
    Scenario("pending again", "ann", answers("hal", "ann", "pending"), NO),
    Scenario("accepted", "fay", answers("fay", "ann", "accepted"), YES),
    Scenario("declined", "fay", answers("fay", "ann", "declined"), YES),
    Scenario("no friend any more", "ann", answers("ann", "bob", "declined"), YES),
    Scenario("accepted after all", "gus", answers("gus", "ann", "accepted"), YES),
    Scenario("accepted by its sender", "ann", answers("fay", "ann", "accepted"), NO),
    Scenario("accepted by a stranger", "eve", answers("fay", "ann", "accepted"), NO),
    Scenario("accepted by nobody", NOBODY, answers("fay", "ann", "accepted"), NO),
    Scenario("accepted, but not asked", "fay", answers("fay", "eve", "accepted"), NO),
    Scenario("accepted, but withdrawn", "hal", answers("hal", "ann", "accepted"), NO),
    Scenario("made to wait again", "gus", answers("gus", "ann", "pending"), NO),
    Scenario("an answer that is none", "fay", answers("fay", "ann", "maybe"), NO),
    Scenario("withdrawn", "ann", withdraws("fay", "ann"), YES),
    Scenario("withdrawn after it was accepted", "ann", withdraws("dan", "ann"), YES),
    Scenario("withdrawn after it was declined", "ann", withdraws("gus", "ann"), NO),
    Scenario("withdrawn twice", "ann", withdraws("hal", "ann"), NO),
    Scenario("withdrawn long ago, as it says", "ann", withdraws("fay", "ann", DAYS_AGO), NO),
    Scenario("withdrawn in future", "ann", withdraws("fay", "ann", TODAY + timedelta(days=9)), NO),
    Scenario("withdrawn at no time", "ann", answers("fay", "ann", "withdrawn"), NO),
    Scenario("withdrawn by its receiver", "fay", withdraws("fay", "ann"), NO),
    Scenario("withdrawn by a stranger", "eve", withdraws("fay", "ann"), NO),
    Scenario("forgotten a day later", "ann", forgets("ida", "ann"), YES),
    Scenario("forgotten within a day", "ann", forgets("hal", "ann"), NO),
    Scenario("forgotten while it waits", "ann", forgets("fay", "ann"), NO),
    Scenario("forgotten, who declined", "ann", forgets("gus", "ann"), NO),
    Scenario("forgotten, who accepted", "ann", forgets("dan", "ann"), NO),
    Scenario("forgotten by its receiver", "gus", forgets("gus", "ann"), NO),
    Scenario("forgotten by a stranger", "eve", forgets("ida", "ann"), NO),
    Scenario("a friend of one's own making", "eve", befriends("eve", "ann"), NO),
    Scenario("a friend of another's making", "eve", befriends("ann", "eve"), NO),
]

IDS = [f"install-{number}" for number in range(6)]
PROFILES = [
    *(
        Scenario("as it should be", "ann", sets("ann", fields), YES)
        for fields in (
            {"display_name": "Zoé"},
            {"display_name": "x" * 100},
            {"language": "pt-BR"},
            {"language": "pt_BR"},
            {"language": "fr_FR.UTF-8"},
            {"language": "zh_TW_#Hant"},
            {"time_zone": "America/Port-au-Prince"},
            {"push_muted": True},
            {"push_preferences": {"game_turn": False}},
            {"push_preferences": {"game_turn": False, "poke": True, "order_delivered": False}},
            {"push_preferences.game_turn": False},
            {"quiet_hours": {"start": "22:00", "end": "07:30"}},
            {"quiet_hours": {"start": "22:00", "end": "07:30", "enabled": False}},
            {"batch": {"custom_ids": ["ann"], "install_ids": IDS[:5]}},
            {"batch": {"install_ids": ["x" * 128]}},
        )
    ),
    *(
        Scenario("not as it should be", "ann", sets("ann", fields), NO)
        for fields in (
            {"display_name": "x" * 101},
            {"display_name": "x" * 5000},
            {"display_name": 7},
            {"language": "x"},
            {"language": "x" * 36},
            {"language": "fr FR"},
            {"language": 7},
            {"time_zone": "x" * 65},
            {"time_zone": "../etc/passwd"},
            {"time_zone": True},
            {"push_muted": "true"},
            {"push_preferences": True},
            {"push_preferences": "game_turn"},
            {"push_preferences": {"game_turn": "off"}},
            {"push_preferences": {"game_turn": 0}},
            {"push_preferences": {"game_turn": {"push": False}}},
            {"push_preferences": {"game_turn": False, "chess": False}},
            {"push_preferences": {"x" * 200: False}},
            {"push_preferences.chess": False},
            {"push_preferences.game_turn": "off"},
            {"quiet_hours": {"start": "22:00"}},
            {"quiet_hours": {"start": "24:00", "end": "07:30"}},
            {"quiet_hours": {"start": "22:00", "end": "7:30"}},
            {"quiet_hours": {"start": "22:00", "end": "07:30", "enabled": "no"}},
            {"quiet_hours": {"start": "22:00", "end": "07:30", "days": "all"}},
            {"batch": {"install_ids": IDS}},
            {"batch": {"install_ids": ["x" * 129]}},
            {"batch": {"install_ids": ["x" * 5000]}},
            {"batch": {"install_ids": ["é" * 128]}},
            {"batch": {"install_ids": ["a b"]}},
            {"batch": {"install_ids": ["a\nb"]}},
            {"batch": {"install_ids": [""]}},
            {"batch": {"install_ids": [7]}},
            {"batch": {"install_ids": "i"}},
            {"batch": {"custom_ids": ["bob"]}},
            {"batch": {"custom_ids": ["ann", "ann"]}},
            {"batch": {"custom_ids": ["ann", "bob"]}},
            {"batch": {"tokens": ["t"]}},
            {"batch": {"advertising_ids": ["a"]}},
            {"batch": {"others": ["a"]}},
            {"batch": "ann"},
            {"is_admin": True},
        )
    ),
    Scenario("of another", "eve", sets("ann", {"push_muted": True}), NO),
    Scenario(
        "of another one's pushes", "eve", sets("ann", {"batch": {"install_ids": IDS[:1]}}), NO
    ),
    Scenario("of nobody", NOBODY, sets("ann", {"push_muted": True}), NO),
    Scenario("of another", "eve", sets("ann", {"push_preferences": {"poke": False}}), NO),
    Scenario("of nobody", NOBODY, sets("ann", {"push_preferences": {"poke": False}}), NO),
    Scenario("of another", "eve", sets("ann", {"push_preferences.poke": False}), NO),
    Scenario("beside an old category", "ned", sets("ned", {"push_preferences.poke": False}), YES),
    Scenario("with an old category", "ned", sets("ned", {"language": "fr"}), YES),
    Scenario("an old category", "ned", sets("ned", {"push_preferences.fax": True}), NO),
    Scenario("without the old one", "ned", sets("ned", {"push_preferences": None}), YES),
    Scenario("with tokens of a back end", "max", sets("max", {"push_muted": True}), YES),
    Scenario("ids beside such tokens", "max", sets("max", {"batch.install_ids": IDS[:5]}), YES),
    Scenario("too many beside such tokens", "max", sets("max", {"batch.install_ids": IDS}), NO),
    Scenario("own id again", "max", sets("max", {"batch.custom_ids": ["max"]}), YES),
    Scenario("such tokens changed", "max", sets("max", {"batch.tokens": ["u"]}), NO),
    Scenario("such tokens dropped", "max", sets("max", {"batch.tokens": None}), NO),
    Scenario("such ads changed", "max", sets("max", {"batch.advertising_ids": ["u"]}), NO),
    Scenario("all dropped, such tokens too", "max", sets("max", {"batch": None}), NO),
    Scenario(
        "all replaced, such tokens too", "max", sets("max", {"batch": {"custom_ids": ["max"]}}), NO
    ),
]

SCENARIOS = [*CONVERSATIONS, *MESSAGES, *FRIENDS, *PROFILES]
