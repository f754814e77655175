// A document of every kind that a function watches.
//
// Documents in `before` are written first, so that the example finds what it needs.

const PEOPLE = {
  "users/ann": { display_name: "Ann", language: "en", time_zone: "Europe/London" },
  "users/bob": { display_name: "Bob", language: "de", time_zone: "Europe/Berlin" },
  "users/zoe": { display_name: "Zoé", language: "fr", time_zone: "Europe/Paris" },
};
const DINNER = { "conversations/dinner": { member_ids: ["ann", "bob", "zoe"] } };

export const EXAMPLES = [
  {
    name: "New message",
    before: { ...PEOPLE, ...DINNER },
    path: "conversations/dinner/messages/{id}",
    fields: { sender_id: "ann", text: "Dinner at eight? 🍝" },
  },
  {
    name: "New message with a picture",
    before: { ...PEOPLE, ...DINNER },
    path: "conversations/dinner/messages/{id}",
    fields: { sender_id: "zoe", image_url: "https://picsum.photos/id/292/600/300" },
  },
  {
    name: "Unread message",
    before: {
      ...PEOPLE,
      ...DINNER,
      "conversations/dinner/messages/unread-{id}": { sender_id: "zoe", text: "Who brings dessert?", recipient_ids: [] },
    },
    path: "conversations/dinner/messages/unread-{id}",
    fields: { sender_id: "zoe", text: "Who brings dessert?", recipient_ids: ["ann", "bob"], unread_message: true },
  },
  {
    name: "Friend request",
    before: { ...PEOPLE, "users/zoe-{id}": { display_name: "Zoé", language: "fr" } },
    path: "users/zoe-{id}/friend_requests/ann",
    fields: { status: "pending" },
  },
  {
    name: "Credit limit reached",
    before: { ...PEOPLE, "accounts/bob": { spent: 940, credit_limit: 1000, currency: "EUR" } },
    path: "accounts/bob",
    fields: { spent: 1000, credit_limit: 1000, currency: "EUR" },
  },
  {
    name: "Turn in a game",
    before: PEOPLE,
    path: "games/{id}",
    fields: { name: "Chess", current_player_id: "bob" },
  },
  {
    name: "Order delivered",
    before: PEOPLE,
    path: "orders/{id}",
    fields: { customer_id: "zoe", number: "A-7", status: "delivered" },
  },
  {
    name: "Flight delayed",
    before: PEOPLE,
    path: "flights/{id}",
    fields: {
      number: "BP12",
      status: "delayed",
      departs_at: { $timestamp: "2030-06-01T11:05:00Z" },
      passenger_ids: ["ann", "zoe"],
    },
  },
  {
    name: "Train cancelled",
    before: PEOPLE,
    path: "trains/{id}",
    fields: {
      number: "9571",
      status: "cancelled",
      departs_at: { $timestamp: "2030-06-01T07:00:00Z" },
      passenger_ids: ["bob"],
    },
  },
  {
    name: "Push of another back end",
    before: {},
    path: "pushes/{id}",
    fields: {
      group_id: "sale",
      recipients: { custom_ids: ["ann"] },
      message: { title: "Sale", body: "Everything must go" },
    },
  },
  {
    name: "Silent push of another back end",
    before: {},
    path: "pushes/{id}",
    fields: { group_id: "refresh", recipients: { custom_ids: ["ann"] }, push_type: "background" },
  },
  {
    name: "Campaign",
    before: {},
    path: "campaigns/{id}",
    fields: {
      name: "Summer sale",
      live: true,
      push_time: "now",
      messages: {
        en: { title: "Summer sale", body: "Everything must go" },
        fr: { title: "Soldes d’été", body: "Tout doit disparaître" },
      },
    },
  },
  {
    name: "Article published",
    before: {},
    path: "articles/{id}",
    fields: { title: "The river rises", topics: ["city"], published: true },
  },
  { name: "Any document", before: {}, path: "", fields: {} },
];
