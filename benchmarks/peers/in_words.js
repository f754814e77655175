// A chat message in the languages of its readers, for the peers in Node.
const TEXTS = {
  en: ["New message", "📷 Sent you a picture"],
  fr: ["Nouveau message", "📷 Vous a envoyé une photo"],
};

// A body for each language that somebody reads; `users` are profiles by id, the sender's included.
exports.bodies = (message, users) => {
  const sender = users[message.sender_id]?.display_name;
  const readers = {};
  for (const [id, user] of Object.entries(users)) {
    if (id === message.sender_id || user?.push_muted) continue;
    (readers[user?.language ?? "en"] ??= []).push(id);
  }
  return Object.entries(readers).map(([language, ids]) =>
    JSON.stringify({
      group_id: "new_message",
      recipients: { custom_ids: ids },
      message: { title: sender ?? TEXTS[language][0], body: message.text || TEXTS[language][1] },
      media: { picture: message.image_url },
    }),
  );
};
