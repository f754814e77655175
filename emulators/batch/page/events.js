// What happened, as events: deliveries, campaigns, writes without a push, and calls of none of them.

// Calls about people, which belong to no delivery and no campaign.
const OF_PEOPLE = { "data/users": "ATTRIBUTES", "events/users": "EVENT", "gdpr/create": "REMOVAL" };

/** All events, the newest first. `unheard` are writes of the page that call no function. */
export function eventsOf({ deliveries, publications, silences, calls }, unheard) {
  const events = [
    ...(deliveries ?? []).map((delivery) => ({
      key: delivery.id,
      at: delivery.created_at,
      state: delivery.state,
      name: delivery.function,
      document: delivery.document,
      delivery,
    })),
    ...publications.map((campaign) => ({
      key: campaign.document,
      at: campaign.updated_at,
      state: statesOf(campaign),
      name: "campaign",
      document: campaign.document,
      campaign,
    })),
    ...silences.map((silence) => ({
      key: `silence-${silence.function}-${silence.event_id}`,
      at: silence.at,
      state: "NO PUSH",
      name: silence.function,
      document: silence.document,
      said: "The handler returned nothing, so there is no push and no record.",
    })),
    ...unheard.map(({ at, path, kind }) => ({
      key: `unheard-${at}-${path}`,
      at,
      state: "NO FUNCTION",
      name: "",
      document: path,
      said: `No function of main.py is called when this document is ${kind}.`,
    })),
    ...calls
      .filter((call) => call.method === "POST" && !call.delivery && !call.campaign)
      .map((call) => ({
        key: String(call.number),
        at: call.received_at,
        state: OF_PEOPLE[call.route] ?? "",
        name: "",
        document: call.path,
        ofPeople: call.route in OF_PEOPLE,
      })),
  ];
  for (const event of events) event.calls = calls.filter((call) => keyOf(call) === event.key);
  return events.sort((one, other) => new Date(other.at) - new Date(one.at));
}

/** The event that a call belongs to. */
export function keyOf(call) {
  return call.delivery ?? call.campaign ?? String(call.number);
}

/** `APPLIED`, or the states of the apps if they differ. */
function statesOf(campaign) {
  return [...new Set(Object.values(campaign.apps).map((each) => each.state))].sort().join(", ");
}
