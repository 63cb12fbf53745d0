-- What MQTT sessions must not forget (centres/watch keeps it for the gateway, which reads it once on
-- start). A session is named by its owner and the client identifier.
CREATE TABLE mqtt_sessions (
    owner_kind     TEXT NOT NULL,
    owner          TEXT NOT NULL,
    client         TEXT NOT NULL,
    expiry_seconds INTEGER NOT NULL,
    ends_at        INTEGER,
    sent_to        INTEGER NOT NULL,
    read           TEXT NOT NULL,
    will           TEXT,
    PRIMARY KEY (owner_kind, owner, client)
);

CREATE TABLE mqtt_subscriptions (
    owner_kind TEXT NOT NULL,
    owner      TEXT NOT NULL,
    client     TEXT NOT NULL,
    filter     TEXT NOT NULL,
    options    INTEGER NOT NULL,
    identifier INTEGER,
    PRIMARY KEY (owner_kind, owner, client, filter)
);

CREATE TABLE mqtt_messages (
    id         INTEGER PRIMARY KEY,
    topic      TEXT NOT NULL,
    payload    BLOB NOT NULL,
    qos        INTEGER NOT NULL,
    retain     INTEGER NOT NULL,
    expires_at INTEGER,
    properties TEXT
);

CREATE TABLE mqtt_deliveries (
    owner_kind  TEXT NOT NULL,
    owner       TEXT NOT NULL,
    client      TEXT NOT NULL,
    sequence    INTEGER NOT NULL,
    message     INTEGER NOT NULL,
    packet_id   INTEGER NOT NULL,
    qos         INTEGER NOT NULL,
    retain      INTEGER NOT NULL,
    released    INTEGER NOT NULL,
    identifiers TEXT NOT NULL,
    PRIMARY KEY (owner_kind, owner, client, sequence)
);

-- Packet identifiers of QoS 2 messages whose PUBREL has not come.
CREATE TABLE mqtt_received (
    owner_kind TEXT NOT NULL,
    owner      TEXT NOT NULL,
    client     TEXT NOT NULL,
    packet_id  INTEGER NOT NULL,
    PRIMARY KEY (owner_kind, owner, client, packet_id)
);

CREATE TABLE mqtt_retained (
    topic      TEXT PRIMARY KEY,
    payload    BLOB NOT NULL,
    qos        INTEGER NOT NULL,
    expires_at INTEGER,
    properties TEXT
);
