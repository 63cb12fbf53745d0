-- What MQTT sessions must not forget (centres/watch keeps it for the gateway, which reads it once on
-- start). A session is named by its owner and the client identifier.
CREATE TABLE mqtt_sessions (
    owner_kind     TEXT NOT NULL,
    owner          TEXT NOT NULL,
    client         TEXT NOT NULL,
    expiry_seconds BIGINT NOT NULL,
    ends_at        BIGINT,
    sent_to        BIGINT NOT NULL,
    read           TEXT NOT NULL,
    will           TEXT,
    PRIMARY KEY (owner_kind, owner, client)
);

CREATE TABLE mqtt_subscriptions (
    owner_kind TEXT NOT NULL,
    owner      TEXT NOT NULL,
    client     TEXT NOT NULL,
    filter     TEXT NOT NULL,
    options    BIGINT NOT NULL,
    identifier BIGINT,
    PRIMARY KEY (owner_kind, owner, client, filter)
);

CREATE TABLE mqtt_messages (
    id         BIGINT PRIMARY KEY,
    topic      TEXT NOT NULL,
    payload    BYTEA NOT NULL,
    qos        BIGINT NOT NULL,
    retain     BIGINT NOT NULL,
    expires_at BIGINT,
    properties TEXT
);

CREATE TABLE mqtt_deliveries (
    owner_kind  TEXT NOT NULL,
    owner       TEXT NOT NULL,
    client      TEXT NOT NULL,
    sequence    BIGINT NOT NULL,
    message     BIGINT NOT NULL,
    packet_id   BIGINT NOT NULL,
    qos         BIGINT NOT NULL,
    retain      BIGINT NOT NULL,
    released    BIGINT NOT NULL,
    identifiers TEXT NOT NULL,
    PRIMARY KEY (owner_kind, owner, client, sequence)
);

-- Packet identifiers of QoS 2 messages whose PUBREL has not come.
CREATE TABLE mqtt_received (
    owner_kind TEXT NOT NULL,
    owner      TEXT NOT NULL,
    client     TEXT NOT NULL,
    packet_id  BIGINT NOT NULL,
    PRIMARY KEY (owner_kind, owner, client, packet_id)
);

CREATE TABLE mqtt_retained (
    topic      TEXT PRIMARY KEY,
    payload    BYTEA NOT NULL,
    qos        BIGINT NOT NULL,
    expires_at BIGINT,
    properties TEXT
);
